//! The hash of tables whose keys come from the network.

use core::hash::BuildHasher;

use siphasher::sip::SipHasher13;

/// SipHash-1-3 with a key of the stack's own, so that nobody can choose addresses that collide.
#[derive(Clone, Copy)]
pub(crate) struct Keyed(pub(crate) u64, pub(crate) u64);

impl BuildHasher for Keyed {
    type Hasher = SipHasher13;

    fn build_hasher(&self) -> SipHasher13 {
        SipHasher13::new_with_keys(self.0, self.1)
    }
}
