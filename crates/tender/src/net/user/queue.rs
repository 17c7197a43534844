use super::gateway::MAX_FRAME;

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
        Self { frames: vec![0; capacity * MAX_FRAME], lengths: vec![0; capacity], first: 0, len: 0 }
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len == 0
    }

    pub(super) fn is_full(&self) -> bool {
        self.len == self.lengths.len()
    }

    /// Appends a frame, and tells whether there was room for it.
    pub(super) fn push(&mut self, frame: &[u8]) -> bool {
        if self.is_full() || frame.len() > MAX_FRAME {
            return false;
        }
        let slot = (self.first + self.len) % self.lengths.len();
        self.frames[slot * MAX_FRAME..][..frame.len()].copy_from_slice(frame);
        self.lengths[slot] = frame.len() as u16;
        self.len += 1;
        true
    }

    pub(super) fn front(&self) -> Option<&[u8]> {
        let length = usize::from(self.lengths[self.first]);
        (!self.is_empty()).then(|| &self.frames[self.first * MAX_FRAME..][..length])
    }

    /// Takes the front off.
    pub(super) fn pop(&mut self) {
        if !self.is_empty() {
            self.first = (self.first + 1) % self.lengths.len();
            self.len -= 1;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_out_in_order_and_no_more_go_in_than_there_is_room_for() {
        let mut queue = Queue::new(3);
        for round in 0..5u8 {
            for frame in 0..3 {
                assert!(queue.push(&[round, frame]));
            }
            assert!(queue.is_full() && !queue.push(&[9]));
            for frame in 0..3 {
                assert_eq!(queue.front(), Some(&[round, frame][..]));
                queue.pop();
            }
            assert_eq!(queue.front(), None);
            assert!(queue.push(&[0]), "so that the next round begins elsewhere");
            queue.pop();
        }
        assert!(!queue.push(&[0; MAX_FRAME + 1]));
    }
}
