//! Reads what the caller's pointers point to.

use std::ffi::{CStr, c_char};
use std::mem::MaybeUninit;
use std::slice;

use crate::failure::{Failure, Outcome};

/// Most elements of a list that a caller may pass.
const MOST: u32 = 1 << 20;
/// Largest size of a struct that a caller of a later version may pass.
const LARGEST_STRUCT: usize = 4_096;

/// Returns the text at `text`; `None` if it is NULL.
///
/// # Safety
/// `text` must be NULL, or point to a text that ends with a zero byte and stays unchanged for `'a`.
pub(crate) unsafe fn text<'a>(text: *const c_char, what: &'static str) -> Outcome<Option<&'a str>> {
    if text.is_null() {
        return Ok(None);
    }
    // SAFETY: the caller vouches for it.
    let bytes = unsafe { CStr::from_ptr(text) };
    let read = bytes.to_str().map(Some);
    read.map_err(|_| Failure::argument(format!("{what} is not UTF-8")))
}

/// Returns the text at `text`, which must not be NULL.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn needed_text<'a>(
    pointer: *const c_char,
    what: &'static str,
) -> Outcome<&'a str> {
    // SAFETY: the caller vouches for it.
    let read = unsafe { text(pointer, what) }?;
    read.ok_or_else(|| Failure::argument(format!("{what} is NULL")))
}

/// Returns the `count` elements at `first`.
///
/// # Safety
/// `first` must point to `count` elements that stay unchanged for `'a`. It may be NULL if `count` is 0.
pub(crate) unsafe fn list<'a, T>(
    first: *const T,
    count: u32,
    what: &'static str,
) -> Outcome<&'a [T]> {
    if count == 0 {
        return Ok(&[]);
    }
    check(first, what)?;
    if count > MOST {
        return Err(Failure::argument(format!("{what}: {count} elements are too many")));
    }
    // SAFETY: the pointer is aligned and not NULL, and the caller vouches for the rest.
    Ok(unsafe { slice::from_raw_parts(first, count as usize) })
}

/// Returns the memory for `capacity` elements at `first`, which the caller owns. It may never have been
/// written.
///
/// # Safety
/// `first` must point to `capacity` elements that nobody else uses for `'a`. It may be NULL if
/// `capacity` is not above 0.
pub(crate) unsafe fn output<'a, T>(
    first: *mut T,
    capacity: i32,
    what: &'static str,
) -> Outcome<&'a mut [MaybeUninit<T>]> {
    let count = u32::try_from(capacity).unwrap_or(0).min(MOST);
    if count == 0 {
        return Ok(&mut []);
    }
    check(first, what)?;
    // SAFETY: the pointer is aligned and not NULL, and the caller vouches for the rest.
    Ok(unsafe { slice::from_raw_parts_mut(first.cast(), count as usize) })
}

/// Writes a value to the caller's memory.
///
/// # Safety
/// `to` must be NULL, or point to memory for a `T` that nobody else uses.
pub(crate) unsafe fn write<T>(to: *mut T, value: T, what: &'static str) -> Outcome {
    check(to, what)?;
    // SAFETY: the pointer is aligned and not NULL, and the caller vouches for the rest.
    unsafe { to.write(value) };
    Ok(())
}

/// Reads a struct that begins with its size. A caller with an older header passes a shorter struct, whose
/// missing fields are 0. A caller with a newer header may pass a longer one, if what this library does
/// not know is 0.
///
/// # Safety
/// `from` must be NULL, or point to a struct whose first field is a `u32` with its size. Every bit
/// pattern, and so all zeroes, must be a valid `T`.
pub(crate) unsafe fn sized<T: Copy>(from: *const T, what: &'static str) -> Outcome<T> {
    check(from, what)?;
    // SAFETY: the pointer is aligned and not NULL, and the caller says that a size is there.
    let size = unsafe { from.cast::<u32>().read() } as usize;
    if !(size_of::<u32>()..=LARGEST_STRUCT).contains(&size) {
        return Err(Failure::argument(format!("{what}: its size is {size}: set it with sizeof")));
    }
    // SAFETY: the caller says that the struct has so many bytes.
    let bytes = unsafe { slice::from_raw_parts(from.cast::<u8>(), size) };
    let known = bytes.len().min(size_of::<T>());
    if bytes[known..].iter().any(|byte| *byte != 0) {
        return Err(Failure::argument(format!(
            "{what} has fields that this library is too old for: update the library"
        )));
    }
    let mut value = MaybeUninit::<T>::zeroed();
    // SAFETY: `known` bytes can be read and written, and the two do not overlap. The other bytes are 0,
    // and every bit pattern is a valid `T`.
    unsafe {
        bytes.as_ptr().copy_to_nonoverlapping(value.as_mut_ptr().cast(), known);
        Ok(value.assume_init())
    }
}

fn check<T>(pointer: *const T, what: &'static str) -> Outcome {
    if pointer.is_null() {
        return Err(Failure::argument(format!("{what} is NULL")));
    }
    if !pointer.is_aligned() {
        return Err(Failure::argument(format!("{what} is not aligned")));
    }
    Ok(())
}

/// Copies a text to the caller's buffer, with a zero byte at its end. Returns the length of the whole
/// text in bytes, whether it fits or not. What does not fit is cut off.
pub(crate) fn copy_text(text: &str, to: &mut [MaybeUninit<c_char>]) -> usize {
    if let Some(room) = to.len().checked_sub(1) {
        let mut fits = text.len().min(room);
        while !text.is_char_boundary(fits) {
            fits -= 1;
        }
        for (to, byte) in to.iter_mut().zip(&text.as_bytes()[..fits]) {
            to.write(*byte as c_char);
        }
        to[fits].write(0);
    }
    text.len()
}

/// Fills the caller's memory with zeroes.
#[cfg(feature = "opus")]
pub(crate) fn zeroed(to: &mut [MaybeUninit<f32>]) -> &mut [f32] {
    to.iter_mut().for_each(|to| _ = to.write(0.0));
    // SAFETY: every element was written above, and both types have the same layout.
    unsafe { &mut *(std::ptr::from_mut(to) as *mut [f32]) }
}

/// Copies bytes to the front of the caller's memory. Returns whether they fit; otherwise nothing is copied.
pub(crate) fn copy_bytes(bytes: &[u8], to: &mut [MaybeUninit<u8>]) -> bool {
    let Some(to) = to.get_mut(..bytes.len()) else { return false };
    to.iter_mut().zip(bytes).for_each(|(to, byte)| _ = to.write(*byte));
    true
}

#[cfg(test)]
mod tests {
    use super::*;

    #[repr(C)]
    #[derive(Clone, Copy, Debug, PartialEq)]
    struct Sample {
        size: u32,
        first: u32,
        second: u64,
    }

    #[test]
    fn structs_of_older_and_newer_headers() {
        let read = |size: u32, words: [u32; 6]| {
            let mut words = words;
            words[0] = size;
            let aligned: [u64; 3] = std::array::from_fn(|i| {
                u64::from(words[2 * i]) | u64::from(words[2 * i + 1]) << 32
            });
            // SAFETY: 24 bytes are there, and no size below is larger.
            unsafe { sized::<Sample>(aligned.as_ptr().cast(), "sample") }
        };
        assert_eq!(read(16, [0, 7, 8, 0, 9, 9]).unwrap(), Sample { size: 16, first: 7, second: 8 });
        assert_eq!(read(8, [0, 7, 8, 0, 9, 9]).unwrap(), Sample { size: 8, first: 7, second: 0 });
        assert_eq!(read(24, [0, 7, 8, 0, 0, 0]).unwrap().second, 8);
        assert!(read(24, [0, 7, 8, 0, 0, 1]).unwrap_err().text.contains("too old"));
        assert!(read(3, [0; 6]).unwrap_err().text.contains("sizeof"));
        assert!(read(u32::MAX, [0; 6]).is_err());
        // SAFETY: NULL is allowed.
        assert!(unsafe { sized::<Sample>(std::ptr::null(), "sample") }.is_err());
    }

    #[test]
    fn a_text_that_does_not_fit_is_cut_between_characters() {
        let copied = |text: &str, capacity: usize| {
            let mut to = vec![MaybeUninit::new(1 as c_char); capacity];
            let len = copy_text(text, &mut to);
            // SAFETY: every element was written above.
            let bytes = to.iter().map(|c| unsafe { c.assume_init() } as u8);
            let bytes = bytes.take_while(|c| *c != 0).collect();
            (len, String::from_utf8(bytes).unwrap())
        };
        assert_eq!(copied("Zoë", 9), (4, "Zoë".to_owned()));
        assert_eq!(copied("Zoë", 5), (4, "Zoë".to_owned()));
        assert_eq!(copied("Zoë", 4), (4, "Zo".to_owned()));
        assert_eq!(copied("Zoë", 1), (4, String::new()));
        assert_eq!(copy_text("Zoë", &mut []), 4);
    }
}
