//! Tries what a runtime is for, in an image: `--try` what is to wait for and to share, `--panic` a
//! task that panics, `--fault` a read where nothing is, `--busy=N` an echo beside N tasks that never rest.

#![cfg_attr(target_os = "none", no_std, no_main)]

extern crate alloc;

use alloc::rc::Rc;
use alloc::vec::Vec;
use core::time::Duration;

use embassy_sync::blocking_mutex::raw::NoopRawMutex;
use embassy_sync::channel::Channel;
use embassy_sync::mutex::Mutex;
use embassy_sync::signal::Signal;
use futures_util::future::{Either, join, select};
use futures_util::{FutureExt, pin_mut, select_biased};
use mkernel::{interval, sleep, spawn, stats, yield_now};

#[mkernel::main(net = "service")]
async fn main() -> Result<(), mnet::Error> {
    for argument in mkernel::args().filter(|argument| !mnet::is_argument(argument)) {
        match argument.split_once('=').unwrap_or((argument, "")) {
            ("--try", _) => try_all().await,
            ("--panic", _) => {
                let task = spawn(async {
                    yield_now().await;
                    panic!("a task that panics says so");
                });
                task.await?;
            }
            ("--fault", _) => fault(),
            ("--busy", count) => be_busy(count.parse().unwrap_or(0)).await?,
            other => panic!("{other:?}"),
        }
    }
    Ok(())
}

/// Uses what other crates have for tasks on one core, as it is.
async fn try_all() {
    let channel = Rc::new(Channel::<NoopRawMutex, u32, 4>::new());
    let sum = Rc::new(Mutex::<NoopRawMutex, u32>::new(0));
    let done = Rc::new(Signal::<NoopRawMutex, &str>::new());
    let adders: Vec<_> = (0..3)
        .map(|_| {
            let (channel, sum) = (Rc::clone(&channel), Rc::clone(&sum));
            spawn(async move {
                loop {
                    let number = channel.receive().await;
                    let mut sum = sum.lock().await;
                    let before = *sum;
                    // Another that adds now would be lost.
                    yield_now().await;
                    *sum = before + number;
                }
            })
        })
        .collect();
    for number in 1..=100 {
        channel.send(number).await;
    }
    while *sum.lock().await < 5_050 {
        yield_now().await;
    }
    adders.iter().for_each(|adder| adder.abort());

    let (slow, quick) = (sleep(Duration::from_secs(60)), sleep(Duration::from_millis(1)));
    pin_mut!(slow, quick);
    assert!(matches!(select(slow, quick).await, Either::Right(_)));
    assert_eq!(join(async { 1 }, async { 2 }).await, (1, 2));
    let signaller = spawn({
        let done = Rc::clone(&done);
        async move { done.signal("done") }
    });
    select_biased! {
        said = done.wait().fuse() => assert_eq!(said, "done"),
        () = sleep(Duration::from_secs(60)).fuse() => panic!("nobody has said so"),
    }
    assert!(signaller.await.is_ok());

    let mut interval = interval(Duration::from_millis(5));
    let first = interval.tick().await;
    interval.tick().await;
    let passed = (interval.tick().await - first).as_micros();
    // Who comes late, as may be where much else runs, misses a tick.
    assert!(passed >= 10_000 && passed.is_multiple_of(5_000), "{passed}");
    let stats = stats();
    let heap = stats.heap.map(|heap| (heap.used <= heap.peak, heap.peak < heap.size));
    log::info!("tried: {:?} of heap, asleep {}", heap, stats.asleep > Duration::from_millis(5));
}

/// Reads from the page at address 0.
fn fault() {
    let nowhere = core::ptr::without_provenance::<u8>(8);
    // SAFETY: Nothing is mapped there, whatever the platform: the read has no outcome.
    let read = unsafe { nowhere.read_volatile() };
    log::error!("there is {read} at address 8");
}

/// Echoes beside tasks of which each can always run.
async fn be_busy(count: usize) -> Result<(), mnet::Error> {
    let stack = mnet::stack("service").await?;
    let socket = stack.udp().bind(7)?;
    for _ in 0..count {
        spawn(async {
            loop {
                yield_now().await;
            }
        });
    }
    stack.ready().await;
    log::info!("ready: busy with {} tasks", stats().tasks);
    loop {
        let datagram = socket.recv_datagram().await?;
        if let Err(error) = datagram.reply().await {
            log::debug!("{error}");
        }
    }
}
