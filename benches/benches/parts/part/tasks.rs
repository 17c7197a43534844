//! Tasks, by themselves.

use std::cell::RefCell;
use std::future::poll_fn;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::Instant;

use mkernel::{WaitKey, WaitList};
use mnet_bench::Run;

/// Two tasks that wait for each other, as tasks wait for sockets.
struct Pair {
    left: u64,
    lists: [WaitList; 2],
    keys: [WaitKey; 2],
}

pub(super) fn wake_to_poll() -> Run {
    Box::new(|count| {
        mkernel::block_on(async move {
            let pair = Pair { left: count, lists: Default::default(), keys: Default::default() };
            let pair = Rc::new(RefCell::new(pair));
            let before = Instant::now();
            let tasks = [0, 1].map(|this| {
                let pair = Rc::clone(&pair);
                mkernel::spawn(poll_fn(move |cx| pair.borrow_mut().poll(this, cx)))
            });
            for task in tasks {
                task.await.unwrap();
            }
            before.elapsed()
        })
    })
}

impl Pair {
    /// Wakes the other task, and waits for it.
    fn poll(&mut self, this: usize, cx: &mut Context<'_>) -> Poll<()> {
        let Self { left, lists, keys } = self;
        lists[1 - this].wake_all();
        if *left == 0 {
            lists[this].remove(&mut keys[this]);
            return Poll::Ready(());
        }
        *left -= 1;
        lists[this].register(&mut keys[this], cx.waker());
        Poll::Pending
    }
}
