//! The task that moves frames between device and stack, and time along with them.

use alloc::collections::VecDeque;
use alloc::rc::Weak;
use alloc::string::String;
use alloc::vec::Vec;
use core::future::{Future, poll_fn};
use core::pin::Pin;
use core::task::{Context, Poll};

use mkernel::{Sleep, now_coarse, sleep_until};
use mnet_proto::{AddressEvent, Event, Stack};
use netdev::{Device, Gone, Instant, Packet};

use crate::shared::{Shared, State};

/// Most frames to take from the device before tasks get their turn.
const BATCH: usize = 64;

/// Drives a stack until its last handle is dropped, or its device is gone.
pub(crate) fn drive(
    shared: Weak<Shared<Stack>>,
    device: impl Device,
    name: String,
) -> impl Future<Output = ()> {
    let mut driver = Driver {
        device,
        name,
        drained: false,
        untold: Vec::new(),
        address_changes: 0,
        due: Instant::FAR_FUTURE,
        timer: sleep_until(Instant::FAR_FUTURE),
    };
    poll_fn(move |cx| {
        let Some(shared) = shared.upgrade() else { return Poll::Ready(()) };
        let turn = driver.turn(cx, &shared, &mut shared.state.borrow_mut());
        // Whoever writes the log may send it by this stack.
        if !driver.untold.is_empty() {
            driver.tell();
        }
        match turn {
            Ok(()) => Poll::Pending,
            Err(Gone) => {
                driver.give_up(&shared);
                Poll::Ready(())
            }
        }
    })
}

struct Driver<D> {
    device: D,
    name: String,
    // The device had no more frames when it was last asked.
    drained: bool,
    // What has become of addresses in this turn.
    untold: Vec<AddressEvent>,
    // How often addresses had changed when it was last looked at.
    address_changes: u64,
    // When the stack wants to be told the time, as it has said last.
    due: Instant,
    timer: Sleep,
}

impl<D: Device> Driver<D> {
    /// Sends what tasks have sent, takes frames in, lets time pass, tells who waits, and sends what that
    /// has led to; then sees to it that the task is woken when there is more to do.
    fn turn(
        &mut self,
        cx: &mut Context<'_>,
        shared: &Shared<Stack>,
        state: &mut State<Stack>,
    ) -> Result<(), Gone> {
        let now = now_coarse();
        state.driver_woken = false;
        state.calls = 0;
        self.send(cx, state)?;
        self.receive(cx, now, shared, state)?;
        if self.due <= now {
            state.host.handle_timeout(now);
        }
        while let Some(event) = state.host.poll_event() {
            match event {
                Event::Readable(socket) => state.readers(socket).wake_all(),
                Event::Address(event) => self.untold.push(event),
                _ => {}
            }
        }
        if state.host.address_changes() != self.address_changes {
            self.address_changes = state.host.address_changes();
            state.ready.wake_all();
        }
        let may_send = self.send(cx, state)?;
        if !state.senders.is_empty() && !state.host.is_congested() {
            state.senders.wake_all();
        }
        // Whoever has frames to send wakes the driver by this.
        if let Some(driver) = &mut state.driver {
            driver.clone_from(cx.waker());
        }
        self.drained = self.drained && self.device.poll_receive(cx).is_pending();
        self.due = state.host.poll_timeout().unwrap_or(Instant::FAR_FUTURE);
        if !self.drained || may_send || self.is_time(cx, now) {
            cx.waker().wake_by_ref();
        }
        Ok(())
    }

    /// Takes frames from the device, if it may have some.
    fn receive(
        &mut self,
        cx: &mut Context<'_>,
        now: Instant,
        shared: &Shared<Stack>,
        state: &mut State<Stack>,
    ) -> Result<(), Gone> {
        if self.drained && self.device.poll_receive(cx).is_pending() {
            return Ok(());
        }
        let host = &mut state.host;
        let mut take = |frame| host.handle_frame(now, frame);
        let received = self.device.receive(&shared.pool, BATCH, &mut take)?;
        state.host.count_missed(received.dropped);
        self.drained = received.drained;
        Ok(())
    }

    /// Sends what the device takes. Says whether frames are left and it may take more by now; if
    /// not, the task is woken when it may.
    #[inline]
    fn send(&mut self, cx: &mut Context<'_>, state: &mut State<Stack>) -> Result<bool, Gone> {
        let outgoing = state.host.outgoing();
        if outgoing.is_empty() {
            return Ok(false);
        }
        self.send_some(cx, outgoing)
    }

    fn send_some(
        &mut self,
        cx: &mut Context<'_>,
        outgoing: &mut VecDeque<Packet>,
    ) -> Result<bool, Gone> {
        if self.device.poll_transmit(cx).is_pending() {
            return Ok(false);
        }
        self.device.transmit(outgoing)?;
        Ok(!outgoing.is_empty() && self.device.poll_transmit(cx).is_ready())
    }

    /// Tells whoever reads the log of addresses.
    #[cold]
    #[inline(never)]
    fn tell(&mut self) {
        for event in self.untold.drain(..) {
            let bad = matches!(event, AddressEvent::Conflict(_) | AddressEvent::NoDhcpServer);
            let level = if bad { log::Level::Warn } else { log::Level::Info };
            log::log!(target: "mnet", level, "{}: {event}", self.name);
        }
    }

    /// Tells everybody that the device is gone.
    #[cold]
    #[inline(never)]
    fn give_up(&self, shared: &Shared<Stack>) {
        let mut state = shared.state.borrow_mut();
        state.host.handle_gone();
        state.driver = None;
        state.wake_all();
        drop(state);
        log::error!("{}: {Gone}", self.name);
    }

    /// Sets the timer, and says whether its time has come already.
    fn is_time(&mut self, cx: &mut Context<'_>, now: Instant) -> bool {
        // One that was set before is still to come.
        if self.due == self.timer.deadline() && self.due > now {
            return false;
        }
        self.timer.reset(self.due);
        let is_time =
            self.due < Instant::FAR_FUTURE && Pin::new(&mut self.timer).poll(cx).is_ready();
        if is_time {
            // It is set no longer.
            self.timer.reset(Instant::FAR_FUTURE);
        }
        is_time
    }
}
