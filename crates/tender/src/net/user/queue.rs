use super::MAX_FRAME;

/// Bytes from one frame to the next: whole cache lines.
const SLOT: usize = MAX_FRAME.next_multiple_of(64);

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

    /// How many more frames it takes.
    pub(super) fn room(&self) -> usize {
        self.lengths.len() - self.len
    }

    /// Appends a frame; `false` if there is no room for it, or it is too long for any.
    #[must_use]
    pub(super) fn push(&mut self, frame: &[u8]) -> bool {
        if self.room() == 0 || frame.len() > MAX_FRAME {
            return false;
        }
        let slot = (self.first + self.len) % self.lengths.len();
        self.frames[slot * SLOT..][..frame.len()].copy_from_slice(frame);
        self.lengths[slot] = frame.len() as u16;
        self.len += 1;
        true
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

    #[test]
    fn frames_come_out_in_order_and_no_more_go_in_than_there_is_room_for() {
        let mut queue = Queue::new(3);
        assert!(queue.push(&[0, 0]));
        for round in 0..5u8 {
            // One stays in, so that each round begins elsewhere.
            assert!(queue.push(&[round, 1]) && queue.push(&[round, 2]));
            assert!(queue.room() == 0 && !queue.push(&[9]));
            for frame in 0..3 {
                assert_eq!(queue.front(), Some(&[round, frame][..]));
                queue.pop();
                if frame == 0 {
                    assert!(queue.push(&[round + 1, 0]));
                }
            }
            assert!(!queue.is_empty());
        }
        queue.pop();
        assert!(queue.is_empty());
        assert_eq!(queue.front(), None);
        assert!(!queue.push(&[1; MAX_FRAME + 1]));
        assert!(queue.push(&[1; MAX_FRAME]));
        assert_eq!(queue.front(), Some(&[1; MAX_FRAME][..]));
    }
}
