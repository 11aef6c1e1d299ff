//! A client: its thread, its rooms and social sessions, and the events that wait for the application.

use std::collections::{HashSet, VecDeque};
use std::mem::MaybeUninit;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::thread;
use std::time::Duration;

use nucleus_client::{Room, RoomEvent, Social};
use tokio::runtime::{Builder, Handle};
use tokio::sync::oneshot;
use tokio::task::{JoinHandle, JoinSet};

use crate::convert::{OwnedEvent, peer_changed, peer_joined, room_event, social_event};
use crate::event::{NcEvent, NcEventKind};
use crate::failure::{Failure, Outcome};
use crate::handles::{Handles, next_number};
use crate::types::{NcOp, NcResult};

/// Requests that may be under way, or wait for `nc_poll`. An application with more does not poll.
const MOST_OPS: usize = 1_024;
/// Rooms and social sessions that a client may have at the same time. A server takes fewer of one user.
const MOST_MEMBERSHIPS: usize = 64;
/// How long the thread of a freed client goes on, for the goodbye to the servers.
const GOODBYE: Duration = Duration::from_secs(3);
/// How long a thread that resolves names waits for another name.
const IDLE_RESOLVER: Duration = Duration::from_millis(500);

pub(crate) static CLIENTS: Handles<Client> = Handles::new("client");
pub(crate) static ROOMS: Handles<Membership<Room>> = Handles::new("room");
pub(crate) static SOCIALS: Handles<Membership<Social>> = Handles::new("social session");

/// A room or social session, from the call that joins it until it is freed.
pub(crate) struct Membership<T> {
    pub(crate) number: u64,
    pub(crate) client: Arc<Client>,
    /// Set under the lock of [`Client::ready`], together with the event that says so.
    joined: OnceLock<T>,
    /// Memory for a voice packet.
    pub(crate) packet: PacketBuffer,
    #[cfg(feature = "opus")]
    pub(crate) codecs: crate::codec::Codecs,
    /// The peers that the application has been told of.
    told: Mutex<HashSet<u32>>,
    /// Ends the join, if it is under way.
    cancel: Mutex<Option<oneshot::Sender<()>>>,
    /// Whether it was freed, so that no event of it is wanted. Set under the lock of [`Client::ready`].
    is_freed: AtomicBool,
    is_leaving: AtomicBool,
}

/// Memory that is used again, so that a sound device's thread does not allocate.
#[derive(Default)]
pub(crate) struct PacketBuffer(Mutex<Vec<u8>>);

impl PacketBuffer {
    /// Takes the memory. A second taker at the same time gets an empty one.
    pub(crate) fn take(&self) -> Vec<u8> {
        std::mem::take(&mut lock(&self.0))
    }

    pub(crate) fn give_back(&self, packet: Vec<u8>) {
        *lock(&self.0) = packet;
    }
}

impl<T> Membership<T> {
    /// Returns the room or social session.
    ///
    /// # Errors
    /// [`NcResult::NotJoined`].
    pub(crate) fn joined(&self) -> Outcome<&T> {
        let missing = || {
            Failure::new(
                NcResult::NotJoined,
                "not joined yet: wait for the event that says so, or free it",
            )
        };
        self.joined.get().ok_or_else(missing)
    }
}

/// A client. Its thread ends when it is freed.
pub(crate) struct Client {
    runtime: Handle,
    stop: Mutex<Option<oneshot::Sender<()>>>,
    members: Mutex<Members>,
    /// Requests whose event `nc_poll` has not returned.
    ops: AtomicUsize,
    ready: Mutex<VecDeque<OwnedEvent>>,
    /// The results of requests. They come after what the requests have changed.
    done: Mutex<VecDeque<OwnedEvent>>,
    /// What the last `nc_poll` has returned: the application may still read it.
    shown: Mutex<Vec<OwnedEvent>>,
}

/// The rooms and social sessions of a client, in the order in which they were joined.
#[derive(Default)]
struct Members {
    rooms: Vec<Arc<Membership<Room>>>,
    socials: Vec<Arc<Membership<Social>>>,
    /// The goodbyes of those that were freed.
    leaves: Vec<JoinHandle<()>>,
    /// Whether the client was freed, so that nothing may be joined any more.
    is_freed: bool,
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    // Nothing that is locked is left half changed by a panic.
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

impl Client {
    /// Starts a client's thread, and returns the client's number.
    pub(crate) fn start() -> Outcome<u64> {
        let system = |error: std::io::Error| Failure::new(NcResult::System, error.to_string());
        let runtime = Builder::new_current_thread()
            .enable_all()
            .thread_name("nucleus-names")
            .thread_keep_alive(IDLE_RESOLVER)
            .build()
            .map_err(system)?;
        let (stop, stopped) = oneshot::channel();
        let client = Arc::new(Self {
            runtime: runtime.handle().clone(),
            stop: Mutex::new(Some(stop)),
            members: Mutex::default(),
            ops: AtomicUsize::new(0),
            ready: Mutex::default(),
            done: Mutex::default(),
            shown: Mutex::default(),
        });
        let number = next_number();
        CLIENTS.insert(number, client.clone());
        let members = client;
        let thread = thread::Builder::new().name("nucleus".to_owned()).spawn(move || {
            // Without the sender the client is gone, too.
            let _ = runtime.block_on(stopped);
            runtime.block_on(members.say_goodbye());
            // A name server that does not answer must not hold the thread.
            runtime.shutdown_background();
        });
        if let Err(error) = thread {
            CLIENTS.remove(number)?;
            return Err(system(error));
        }
        Ok(number)
    }

    /// Frees the client with this number, and its rooms and social sessions. Returns at once.
    pub(crate) fn free(number: u64) -> Outcome {
        let client = CLIENTS.remove(number)?;
        let mut members = lock(&client.members);
        members.is_freed = true;
        // Some may have been freed.
        members.rooms.iter().for_each(|room| drop(ROOMS.remove(room.number)));
        members.socials.iter().for_each(|social| drop(SOCIALS.remove(social.number)));
        drop(members);
        // Fails only if the thread has ended.
        let _ = lock(&client.stop).take().map(|stop| stop.send(()));
        Ok(())
    }

    /// Leaves all rooms and social sessions, so that the others see it at once.
    async fn say_goodbye(&self) {
        let (rooms, socials, begun) = {
            let mut members = lock(&self.members);
            let Members { rooms, socials, leaves, .. } = &mut *members;
            (std::mem::take(rooms), std::mem::take(socials), std::mem::take(leaves))
        };
        let mut leaves = JoinSet::new();
        for leave in begun {
            leaves.spawn(async { drop(leave.await) });
        }
        for room in rooms {
            cancel(&room);
            leaves.spawn(leave_room(room));
        }
        for social in socials {
            cancel(&social);
            leaves.spawn(leave_social(social));
        }
        let _ = tokio::time::timeout(GOODBYE, leaves.join_all()).await;
    }

    /// Begins to join a room.
    pub(crate) fn join_room<E>(
        self: &Arc<Self>,
        join: impl Future<Output = Result<Room, E>> + Send + 'static,
    ) -> Outcome<u64>
    where
        E: Send + 'static,
        Failure: From<E>,
    {
        let mut members = lock(&self.members);
        check_capacity(&members)?;
        let room = self.begin(
            join,
            |room: &Room| {
                let mut joined = OwnedEvent::new(NcEventKind::Joined).named(room.name());
                joined.event.peer = room.me().0;
                let others = room.peers().into_iter().map(peer_joined);
                std::iter::once(joined).chain(others).collect()
            },
            NcEventKind::JoinFailed,
        );
        ROOMS.insert(room.number, room.clone());
        let number = room.number;
        members.rooms.push(room);
        Ok(number)
    }

    /// Begins to open a social session.
    pub(crate) fn enter_social<E>(
        self: &Arc<Self>,
        enter: impl Future<Output = Result<Social, E>> + Send + 'static,
    ) -> Outcome<u64>
    where
        E: Send + 'static,
        Failure: From<E>,
    {
        let mut members = lock(&self.members);
        check_capacity(&members)?;
        let social = self.begin(
            enter,
            |social: &Social| vec![OwnedEvent::new(NcEventKind::Entered).named(social.user())],
            NcEventKind::EnterFailed,
        );
        SOCIALS.insert(social.number, social.clone());
        let number = social.number;
        members.socials.push(social);
        Ok(number)
    }

    /// Joins in the background. `events` are those of a success.
    fn begin<T: Send + Sync + 'static, E>(
        self: &Arc<Self>,
        join: impl Future<Output = Result<T, E>> + Send + 'static,
        events: impl FnOnce(&T) -> Vec<OwnedEvent> + Send + 'static,
        failed: NcEventKind,
    ) -> Arc<Membership<T>>
    where
        E: Send + 'static,
        Failure: From<E>,
    {
        let (cancel, cancelled) = oneshot::channel();
        let membership = Arc::new(Membership {
            number: next_number(),
            client: self.clone(),
            joined: OnceLock::new(),
            packet: PacketBuffer::default(),
            #[cfg(feature = "opus")]
            codecs: crate::codec::Codecs::default(),
            told: Mutex::default(),
            cancel: Mutex::new(Some(cancel)),
            is_freed: AtomicBool::new(false),
            is_leaving: AtomicBool::new(false),
        });
        let of = membership.clone();
        // In a task of its own, so that a panic is known.
        let mut join = self.runtime.spawn(join);
        self.runtime.spawn(async move {
            let joined = tokio::select! {
                biased;
                _ = cancelled => return join.abort(),
                joined = &mut join => joined,
            };
            let joined = match joined {
                Ok(joined) => joined.map_err(Failure::from),
                Err(error) => Err(Failure::panicked(&error)),
            };
            let mut ready = lock(&of.client.ready);
            if of.is_freed.load(Ordering::Relaxed) {
                return;
            }
            let events = match joined {
                Ok(joined) => {
                    let events = events(&joined);
                    // Nobody else sets it.
                    let _ = of.joined.set(joined);
                    events
                }
                Err(failure) => vec![OwnedEvent::new(failed).failed(failure)],
            };
            let mut told = lock(&of.told);
            for event in events {
                if event.event.kind == NcEventKind::PeerJoined as u32 {
                    told.insert(event.event.peer);
                }
                ready.push_back(event.of(of.number));
            }
        });
        membership
    }

    /// Carries out a request in the background. Its result is an event.
    pub(crate) fn request<T: Send + 'static>(
        self: &Arc<Self>,
        handle: u64,
        request: impl Future<Output = Outcome<T>> + Send + 'static,
        done: impl FnOnce(T, OwnedEvent) -> OwnedEvent + Send + 'static,
    ) -> Outcome<NcOp> {
        if self.ops.fetch_add(1, Ordering::Relaxed) >= MOST_OPS {
            self.ops.fetch_sub(1, Ordering::Relaxed);
            return Err(Failure::new(NcResult::WouldBlock, "too many requests are under way"));
        }
        let (op, client) = (next_number(), self.clone());
        // In a task of its own, so that a panic is known.
        let request = self.runtime.spawn(request);
        self.runtime.spawn(async move {
            let event = OwnedEvent::new(NcEventKind::Done);
            let mut event =
                match request.await.unwrap_or_else(|error| Err(Failure::panicked(&error))) {
                    Ok(result) => done(result, event),
                    Err(failure) => event.failed(failure),
                };
            event.event.op = op;
            lock(&client.done).push_back(event.of(handle));
        });
        Ok(op)
    }

    /// Writes the next events to `out`, and returns their number. Frees those of the last call.
    pub(crate) fn poll(&self, out: &mut [MaybeUninit<NcEvent>]) -> usize {
        let mut shown = lock(&self.shown);
        shown.clear();
        let members = lock(&self.members);
        let mut ready = lock(&self.ready);
        // What a request has changed is taken before its result, so results from now on must wait.
        let mut done = lock(&self.done).len();
        let mut rooms = members.rooms.iter();
        let mut socials = members.socials.iter();
        while shown.len() < out.len() {
            let space = out.len() - shown.len();
            if let Some(event) = ready.pop_front() {
                shown.push(event);
            } else if let Some(room) = rooms.next() {
                take_room(room, space, &mut ready);
            } else if let Some(social) = socials.next() {
                take_social(social, space, &mut ready);
            } else if done > 0
                && let Some(event) = lock(&self.done).pop_front()
            {
                done -= 1;
                self.ops.fetch_sub(1, Ordering::Relaxed);
                shown.push(event);
            } else {
                break;
            }
        }
        for (out, event) in out.iter_mut().zip(shown.iter()) {
            out.write(event.point());
        }
        shown.len()
    }

    /// Begins to leave a room.
    pub(crate) fn leave_room(room: &Arc<Membership<Room>>) {
        if !room.is_leaving.swap(true, Ordering::Relaxed) {
            room.client.runtime.spawn(leave_room(room.clone()));
        }
    }

    /// Forgets a room that was freed, and leaves it.
    pub(crate) fn free_room(number: u64) -> Outcome {
        let room = ROOMS.remove(number)?;
        let client = room.client.clone();
        let mut members = lock(&client.members);
        members.rooms.retain(|other| other.number != number);
        client.forget(&room, &mut members);
        members.leaves.push(client.runtime.spawn(leave_room(room)));
        Ok(())
    }

    /// Forgets a social session that was freed, and leaves it.
    pub(crate) fn free_social(number: u64) -> Outcome {
        let social = SOCIALS.remove(number)?;
        let client = social.client.clone();
        let mut members = lock(&client.members);
        members.socials.retain(|other| other.number != number);
        client.forget(&social, &mut members);
        members.leaves.push(client.runtime.spawn(leave_social(social)));
        Ok(())
    }

    /// Ends the join of what was freed, and drops its events.
    fn forget<T>(&self, freed: &Membership<T>, members: &mut Members) {
        cancel(freed);
        let mut ready = lock(&self.ready);
        freed.is_freed.store(true, Ordering::Relaxed);
        ready.retain(|event| event.event.handle != freed.number);
        members.leaves.retain(|leave| !leave.is_finished());
    }
}

fn check_capacity(members: &Members) -> Outcome {
    if members.is_freed {
        return Err(Failure::new(NcResult::InvalidHandle, "the client was freed"));
    }
    if members.rooms.len() + members.socials.len() < MOST_MEMBERSHIPS {
        return Ok(());
    }
    Err(Failure::new(NcResult::WouldBlock, "the client has too many rooms: free some"))
}

/// Takes events of a room, at most `most`.
fn take_room(membership: &Membership<Room>, most: usize, ready: &mut VecDeque<OwnedEvent>) {
    let Ok(room) = membership.joined() else { return };
    let mut told = lock(&membership.told);
    let events = room.poll().filter_map(|event| match event {
        // Who joined at the same moment as this client may be told twice.
        RoomEvent::PeerJoined(ref peer) if !told.insert(peer.id.0) => None,
        RoomEvent::PeerLeft { ref peer, .. } if !told.remove(&peer.id.0) => None,
        // The ABI has one event for everything that is known of a peer.
        RoomEvent::PresenceChanged { peer, .. } => Some(peer_changed(&room.peer(peer)?)),
        event => room_event(event),
    });
    ready.extend(events.take(most).map(|event| event.of(membership.number)));
}

/// Takes events of a social session. One of them may become several.
fn take_social(membership: &Membership<Social>, most: usize, ready: &mut VecDeque<OwnedEvent>) {
    let Ok(social) = membership.joined() else { return };
    for event in social.poll().take(most) {
        social_event(event, social, |event| ready.push_back(event.of(membership.number)));
    }
}

/// Ends a join that is under way.
fn cancel<T>(membership: &Membership<T>) {
    // Fails only if the join has ended.
    let _ = lock(&membership.cancel).take().map(|cancel| cancel.send(()));
}

async fn leave_room(room: Arc<Membership<Room>>) {
    if let Ok(room) = room.joined() {
        room.leave().await;
    }
}

async fn leave_social(social: Arc<Membership<Social>>) {
    if let Ok(social) = social.joined() {
        social.leave().await;
    }
}
