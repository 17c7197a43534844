//! Echoes over a link that Linux makes, side by side and in turns: an image in the tender on a TAP, a
//! bare reflector on a TAP, a Linux process behind a veth, and the same unikernel as a Linux process.
//!
//! It needs root: each server has a network namespace of its own, which is removed in the end.

#![allow(clippy::unwrap_used, reason = "a bench that cannot run has nothing to say")]

mod load;
mod memory;
mod server;

use std::time::Duration;
use std::{env, fs};

use mnet_bench::median;
use mnet_tests::{Namespace, built};

use self::load::Load;
use self::memory::Resident;
use self::server::{Kind, Server};

/// How often each server has its turn, and for how long.
const TURNS: usize = 7;
const TURN: Duration = Duration::from_millis(500);
/// How often the start is timed.
const STARTS: usize = 20;

fn main() {
    let arguments: Vec<_> = env::args().skip(1).collect();
    // As this program's other selves: see `server`.
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["--on-tap", program, argument] => return server::on_tap(program, argument),
        [network, .., "--reflect"] => return server::reflect(network),
        ["--linux"] => return server::echo(),
        _ => {}
    }
    if arguments.iter().any(|argument| argument == "--starts") {
        return starts();
    }
    let servers: Vec<_> = Kind::ALL.into_iter().map(Server::start).collect();
    println!("echoes a second, and p50/p99/p99.9 in µs; CPU: µs that the server takes for one");
    for size in [64, 1_400] {
        for window in [1, 32, 256] {
            compare(&servers, &Load { size, window, time: TURN });
        }
    }
    drop(servers);
    starts();
}

/// Lets each server have its turns, and prints what came of them, the first one's as ratios.
fn compare(servers: &[Server], load: &Load) {
    println!("\n{} bytes, window {}", load.size, load.window);
    let mut measured: Vec<_> = servers.iter().map(|_| Vec::new()).collect();
    for _ in 0..TURNS {
        for (server, measured) in servers.iter().zip(&mut measured) {
            let before = server.cpu_time();
            let outcome = server.inside(|| load.run(server::ECHO.into()));
            let cpu = server.cpu_time() - before;
            measured.push((outcome, cpu));
        }
    }
    let mut rates = Vec::new();
    for (server, measured) in servers.iter().zip(&measured) {
        let of = |value: &dyn Fn(&(load::Outcome, Duration)) -> f64| {
            median(measured.iter().map(value).collect())
        };
        let rate = of(&|(outcome, _)| outcome.rate());
        let [p50, p99, p999] = [0.5, 0.99, 0.999]
            .map(|share| of(&|(outcome, _)| outcome.latency(share).as_secs_f64() * 1e6));
        let cpu = of(&|(outcome, cpu)| cpu.as_secs_f64() * 1e6 / outcome.received.max(1) as f64);
        let lost: u64 = measured.iter().map(|(outcome, _)| outcome.lost).sum();
        println!(
            "{:<10} {rate:>9.0}/s  {p50:>7.1} {p99:>7.1} {p999:>8.1}  lost {lost}  CPU {cpu:.2}",
            server.name()
        );
        rates.push((server.name(), rate));
    }
    let ratios: Vec<_> = rates[1..]
        .iter()
        .map(|(name, rate)| format!("{:.2} × {name}", rates[0].1 / rate))
        .collect();
    println!("{} is {}", rates[0].0, ratios.join(", "));
}

/// Times the start of the tender to the first reply, and says how large image and processes are.
fn starts() {
    let namespace = Namespace::new();
    let times: Vec<_> =
        (0..STARTS).map(|_| server::start(&namespace).as_secs_f64() * 1e3).collect();
    let worst = times.iter().copied().fold(0.0, f64::max);
    println!(
        "\nstart of the tender to the first reply: p50 {:.1} ms, worst {worst:.1} ms",
        median(times)
    );
    let size = fs::metadata(&built().echo).map_or(0, |image| image.len());
    println!("echo image: {size} bytes");
    for packets in ["--packets=1024", "--packets=256"] {
        let load = Load { size: 1_400, window: 32, time: TURN };
        let Resident { once, sum } = server::resident(&namespace, packets, &load);
        println!(
            "tender and image after a load, {packets}: {once} KiB resident; {sum} KiB if what both \
             have is counted twice"
        );
    }
}
