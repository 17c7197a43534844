use super::gateway::MAX_FRAME;

/// Bytes from one frame to the next: whole cache lines.
const SLOT: usize = (MAX_FRAME + 1).next_multiple_of(64);

/// A bounded queue of frames, in one piece of memory that is touched only where it is used.
#[derive(Debug)]
pub(super) struct Queue {
    frames: Vec<u8>,
    lengths: Vec<u16>,
    first: usize,
    len: usize,
}

impl Queue {
    pub(super) fn new(capacity: usize) -> Self {
        Self { frames: vec![0; capacity * SLOT], lengths: vec![0; capacity], first: 0, len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.lengths.len()
    }

    /// Where the next frame goes, with room for one that is too long by a byte; `None` if it is
    /// full.
    pub(super) fn back(&mut self) -> Option<&mut [u8]> {
        let slot = (self.first + self.len) % self.lengths.len();
        (!self.is_full()).then(|| &mut self.frames[slot * SLOT..][..MAX_FRAME + 1])
    }

    /// Appends the frame of this length that was put at [`Queue::back`].
    pub(super) fn push(&mut self, length: usize) {
        if !self.is_full() {
            let slot = (self.first + self.len) % self.lengths.len();
            self.lengths[slot] = length.min(MAX_FRAME) as u16;
            self.len += 1;
        }
    }

    pub(super) fn front(&self) -> Option<&[u8]> {
        let length = usize::from(self.lengths[self.first]);
        (!self.is_empty()).then(|| &self.frames[self.first * SLOT..][..length])
    }

    /// Takes the front off.
    pub(super) fn pop(&mut self) {
        if !self.is_empty() {
            self.first = (self.first + 1) % self.lengths.len();
            self.len -= 1;
        }
        if self.is_empty() {
            // The memory that was used last is the nearest.
            self.first = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn push(queue: &mut Queue, frame: &[u8]) -> bool {
        let Some(slot) = queue.back() else { return false };
        slot[..frame.len()].copy_from_slice(frame);
        queue.push(frame.len());
        true
    }

    #[test]
    fn frames_come_out_in_order_and_no_more_go_in_than_there_is_room_for() {
        let mut queue = Queue::new(3);
        assert!(push(&mut queue, &[0, 0]));
        for round in 0..5u8 {
            // One stays in, so that each round begins elsewhere.
            assert!(push(&mut queue, &[round, 1]) && push(&mut queue, &[round, 2]));
            assert!(queue.is_full() && !push(&mut queue, &[9]));
            for frame in 0..3 {
                assert_eq!(queue.front(), Some(&[round, frame][..]));
                queue.pop();
                if frame == 0 {
                    assert!(push(&mut queue, &[round + 1, 0]));
                }
            }
            assert!(!queue.is_empty());
        }
        queue.pop();
        assert!(queue.is_empty());
        assert_eq!(queue.front(), None);
        assert!(push(&mut queue, &[1; MAX_FRAME]));
        assert_eq!(queue.front(), Some(&[1; MAX_FRAME][..]));
    }
}
