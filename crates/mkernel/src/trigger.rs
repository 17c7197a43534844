use alloc::rc::Rc;
use core::cell::{Cell, RefCell};
use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll};

use crate::wait_list::{WaitKey, WaitList};

/// Something that happens once, and that any number of tasks can wait for.
///
/// Clones are handles of the same trigger. A trigger that has fired stays so.
#[derive(Clone, Debug, Default)]
pub struct Trigger {
    state: Rc<State>,
}

#[derive(Debug, Default)]
struct State {
    fired: Cell<bool>,
    waiting: RefCell<WaitList>,
}

impl Trigger {
    /// A trigger that has not fired.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Lets it happen. The second time does nothing.
    pub fn fire(&self) {
        if !self.state.fired.replace(true) {
            // Nobody comes any more: whoever is woken finds that it has fired.
            self.state.waiting.take().wake_all();
        }
    }

    /// Whether it has happened.
    #[must_use]
    pub fn is_fired(&self) -> bool {
        self.state.fired.get()
    }

    /// Waits until it happens. Cancel-safe.
    ///
    /// ```
    /// mkernel::block_on(async {
    ///     let stop = mkernel::Trigger::new();
    ///     let waiting = mkernel::spawn(stop.fired());
    ///     stop.fire();
    ///     assert_eq!(waiting.await, Ok(()));
    /// });
    /// ```
    pub fn fired(&self) -> Fired {
        Fired { state: Rc::clone(&self.state), key: WaitKey::default() }
    }
}

/// The future of [`Trigger::fired`].
#[derive(Debug)]
#[must_use = "futures do nothing unless awaited"]
pub struct Fired {
    state: Rc<State>,
    key: WaitKey,
}

impl Future for Fired {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.state.fired.get() {
            return Poll::Ready(());
        }
        let Self { state, key } = &mut *self;
        state.waiting.borrow_mut().register(key, cx.waker());
        Poll::Pending
    }
}

impl Drop for Fired {
    fn drop(&mut self) {
        self.state.waiting.borrow_mut().remove(&mut self.key);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{block_on, spawn, yield_now};

    #[test]
    fn a_trigger_ends_every_wait_and_stays_fired() {
        block_on(async {
            let trigger = Trigger::new();
            let waits: Vec<_> = (0..3)
                .map(|_| {
                    let trigger = trigger.clone();
                    spawn(async move { trigger.fired().await })
                })
                .collect();
            yield_now().await;
            assert!(waits.iter().all(|wait| !wait.is_finished()));
            trigger.fire();
            trigger.fire();
            for wait in waits {
                wait.await.unwrap();
            }
            trigger.fired().await;
            assert!(trigger.is_fired());
        });
    }

    std::thread_local! {
        static FIRED: Trigger = Trigger::new();
    }

    /// Waits for the trigger as soon as it is woken, as one does that runs its task at once.
    struct AtOnce;

    impl std::task::Wake for AtOnce {
        fn wake(self: std::sync::Arc<Self>) {
            let mut fired = FIRED.with(Trigger::fired);
            let mut cx = Context::from_waker(core::task::Waker::noop());
            assert!(Pin::new(&mut fired).poll(&mut cx).is_ready());
        }
    }

    #[test]
    fn whoever_is_woken_may_wait_for_it_at_once() {
        let waker = std::sync::Arc::new(AtOnce).into();
        let mut waits = FIRED.with(|trigger| [trigger.fired(), trigger.fired()]);
        for wait in &mut waits {
            assert!(Pin::new(wait).poll(&mut Context::from_waker(&waker)).is_pending());
        }
        FIRED.with(Trigger::fire);
        drop(waits);
    }

    #[test]
    fn a_wait_that_is_given_up_leaves_nothing_behind() {
        block_on(async {
            let trigger = Trigger::new();
            let wait = spawn({
                let trigger = trigger.clone();
                async move { trigger.fired().await }
            });
            yield_now().await;
            assert!(!trigger.state.waiting.borrow().is_empty());
            wait.abort();
            assert!(wait.await.is_err());
            assert!(trigger.state.waiting.borrow().is_empty());
        });
    }
}
