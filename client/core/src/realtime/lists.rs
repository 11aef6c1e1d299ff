//! Doubly linked lists of the indices of a table. Appending and removing take constant time and do
//! not allocate, once the table of links has reached its size.

/// The end of a list.
const NONE: u32 = u32::MAX;

/// The neighbours of each index in the one list of [`ListLinks`] that it is in.
#[derive(Debug, Default)]
pub(super) struct ListLinks(Vec<Neighbors>);

#[derive(Clone, Copy, Debug)]
struct Neighbors {
    before: u32,
    after: u32,
}

impl ListLinks {
    /// Adds an index, which is in no list yet.
    pub(super) fn grow(&mut self) {
        self.0.push(Neighbors { before: NONE, after: NONE });
    }
}

/// A list of indices. All calls must pass the same [`ListLinks`]. Several lists may share it, as
/// long as no index is in two of them.
#[derive(Clone, Copy, Debug)]
pub(super) struct IndexList {
    first: u32,
    last: u32,
    len: usize,
}

impl Default for IndexList {
    fn default() -> Self {
        Self { first: NONE, last: NONE, len: 0 }
    }
}

impl IndexList {
    pub(super) fn len(&self) -> usize {
        self.len
    }

    pub(super) fn first(&self) -> Option<u32> {
        (self.first != NONE).then_some(self.first)
    }

    /// Appends an index that is in no list.
    pub(super) fn push(&mut self, links: &mut ListLinks, index: u32) {
        links.0[index as usize] = Neighbors { before: self.last, after: NONE };
        match self.last {
            NONE => self.first = index,
            last => links.0[last as usize].after = index,
        }
        self.last = index;
        self.len += 1;
    }

    /// Removes an index that is in this list.
    pub(super) fn remove(&mut self, links: &mut ListLinks, index: u32) {
        let Neighbors { before, after } = links.0[index as usize];
        match before {
            NONE => self.first = after,
            before => links.0[before as usize].after = after,
        }
        match after {
            NONE => self.last = before,
            after => links.0[after as usize].before = before,
        }
        self.len -= 1;
    }

    /// Moves an index that is in this list to its end.
    pub(super) fn move_to_end(&mut self, links: &mut ListLinks, index: u32) {
        if self.last != index {
            self.remove(links, index);
            self.push(links, index);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn content(list: &IndexList, links: &ListLinks) -> Vec<u32> {
        let after = |index: &u32| Some(links.0[*index as usize].after).filter(|next| *next != NONE);
        let forward: Vec<u32> = std::iter::successors(list.first(), after).collect();
        let before =
            |index: &u32| Some(links.0[*index as usize].before).filter(|next| *next != NONE);
        let last = Some(list.last).filter(|last| *last != NONE);
        let mut backward: Vec<u32> = std::iter::successors(last, before).collect();
        backward.reverse();
        assert_eq!(forward, backward);
        assert_eq!(forward.len(), list.len());
        forward
    }

    #[test]
    fn indices_are_removed_everywhere_in_a_list() {
        let (mut list, mut links) = (IndexList::default(), ListLinks::default());
        (0..5).for_each(|_| links.grow());
        (0..5).for_each(|index| list.push(&mut links, index));
        for (removed, rest) in [(2, &[0, 1, 3, 4][..]), (0, &[1, 3, 4]), (4, &[1, 3])] {
            list.remove(&mut links, removed);
            assert_eq!(content(&list, &links), rest);
        }
        list.push(&mut links, 0);
        list.move_to_end(&mut links, 1);
        list.move_to_end(&mut links, 1);
        assert_eq!(content(&list, &links), [3, 0, 1]);
        [3, 0, 1].into_iter().for_each(|index| list.remove(&mut links, index));
        assert_eq!((content(&list, &links), list.first()), (vec![], None));
    }
}
