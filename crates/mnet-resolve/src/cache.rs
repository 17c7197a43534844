use alloc::boxed::Box;
use core::fmt;
use core::hash::BuildHasher;
use core::num::NonZeroUsize;

use hickory_proto::op::{Message, Query};
use lru::LruCache;
use mnet::Instant;
use siphasher::sip::SipHasher13;

use crate::answer::Answer;
use crate::message::MAX_MESSAGE;

/// Answers that are still to be believed, by question. When it is full, the one that was not asked
/// for the longest leaves.
///
/// It keeps them as messages of at most [`MAX_MESSAGE`] bytes: that times its capacity is all that
/// answers take, whoever fills it.
pub struct Cache {
    entries: LruCache<Query, Entry, Keyed>,
}

struct Entry {
    since: Instant,
    // Seconds.
    lifetime: u64,
    message: Box<[u8]>,
}

impl Cache {
    /// A cache of that many answers.
    #[must_use]
    pub fn new(capacity: NonZeroUsize) -> Self {
        let mut key = [0; 16];
        mkernel::fill_random(&mut key);
        Self { entries: LruCache::with_hasher(capacity, Keyed(key)) }
    }

    /// The answer to `query`, if it is there and still to be believed at `now`. Its TTLs are those
    /// that are left.
    pub fn get(&mut self, now: Instant, query: &Query) -> Option<Answer> {
        let entry = self.entries.get(query)?;
        let age = (now - entry.since).as_secs();
        if age >= entry.lifetime {
            self.entries.pop(query);
            return None;
        }
        // What was taken from a message can be taken again, from one that has nothing else.
        let message = Message::from_vec(&entry.message).ok()?;
        let answer = Answer::extract(query, message).ok()?;
        Some(answer.aged(u32::try_from(age).unwrap_or(u32::MAX)))
    }

    /// Keeps an answer that came at `now`, if it may be believed for a second or longer.
    pub fn insert(&mut self, now: Instant, query: &Query, answer: &Answer) {
        let lifetime = answer.lifetime().as_secs();
        let Ok(message) = answer.clone().into_message().to_vec() else { return };
        if lifetime > 0 && message.len() <= MAX_MESSAGE {
            let message = message.into_boxed_slice();
            self.entries.put(query.clone(), Entry { since: now, lifetime, message });
        }
    }

    /// How many answers it holds, those that have expired since they were last asked for included.
    #[must_use]
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether it holds none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }
}

impl fmt::Debug for Cache {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cache").field("len", &self.len()).finish_non_exhaustive()
    }
}

/// SipHash-1-3 with a key of its own, so that nobody can choose names that collide.
struct Keyed([u8; 16]);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_key(&self.0)
    }
}
