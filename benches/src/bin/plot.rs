//! Draws what the benches print: `docs/cost-by-ports.svg`, of `benches/instructions.txt`, and
//! `docs/rate-by-window.svg`, of what `--bench e2e` has printed into the file that is given.

#![allow(clippy::unwrap_used, reason = "a plot of what is not there is none")]

use std::fmt::Write;
use std::path::Path;
use std::{env, fs};

/// A line of a plot: its name, and its points.
type Line = (String, Vec<(f64, f64)>);

const COLORS: [&str; 4] = ["#c0392b", "#2c6fbb", "#2e8b57", "#8e6bbf"];
const WIDTH: f64 = 560.0;
const HEIGHT: f64 = 320.0;
const MARGIN: f64 = 64.0;

fn main() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap();
    let counts = fs::read_to_string(root.join("benches/instructions.txt")).unwrap();
    let ports = ["mnet-reply", "smoltcp"].map(|stack| by_ports(&counts, stack));
    let title = "Instructions for an echo of 64 bytes, by bound ports";
    fs::write(root.join("docs/cost-by-ports.svg"), plot(title, &ports)).unwrap();
    if let Some(printed) = env::args().nth(1) {
        let printed = fs::read_to_string(printed).unwrap();
        let rates = ["spt", "reflector", "Linux", "hosted"].map(|name| by_window(&printed, name));
        let title = "Echoes of 64 bytes a second, by datagrams under way";
        fs::write(root.join("docs/rate-by-window.svg"), plot(title, &rates)).unwrap();
    }
}

/// What `3644 echo/mnet-reply/v4/64/ports-100` says of a stack.
fn by_ports(counts: &str, stack: &str) -> Line {
    let name = format!("echo/{stack}/v4/64");
    let points = counts.lines().filter_map(|line| {
        let (count, case) = line.split_once(' ')?;
        let ports = match case.strip_prefix(&name)? {
            "" => 1.0,
            rest => rest.strip_prefix("/ports-")?.parse().ok()?,
        };
        Some((ports, count.parse().ok()?))
    });
    (stack.to_owned(), points.collect())
}

/// What the lines below `64 bytes, window 32` say of a server: `spt  125575/s …`.
fn by_window(printed: &str, server: &str) -> Line {
    let mut window = None;
    let mut points = Vec::new();
    for line in printed.lines() {
        if let Some((size, count)) = line.split_once(" bytes, window ") {
            window = (size == "64").then(|| count.parse().unwrap());
        }
        let rate = line.strip_prefix(server).and_then(|rest| rest.split_once("/s "));
        if let (Some(window), Some((rate, _))) = (window, rate)
            && let Ok(rate) = rate.trim().parse()
        {
            points.push((window, rate));
        }
    }
    (server.to_owned(), points)
}

/// An SVG, both of its axes logarithmic.
fn plot(title: &str, lines: &[Line]) -> String {
    let points = || lines.iter().flat_map(|(_, points)| points);
    let span = |value: fn(&(f64, f64)) -> f64| {
        let logs = points().map(|point| value(point).log10());
        let (low, high) =
            logs.fold((f64::MAX, f64::MIN), |(low, high), log| (low.min(log), high.max(log)));
        (low.floor(), high.ceil())
    };
    let (x_span, y_span) = (span(|&(x, _)| x), span(|&(_, y)| y));
    let place = |value: f64, (low, high): (f64, f64)| (value.log10() - low) / (high - low);
    let x = |value| MARGIN + place(value, x_span) * (WIDTH - 2.0 * MARGIN);
    let y = |value| HEIGHT - MARGIN - place(value, y_span) * (HEIGHT - 2.0 * MARGIN);

    let mut svg = format!(
        r#"<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12">
<rect width="{WIDTH}" height="{HEIGHT}" fill="white"/>
<text x="{MARGIN}" y="28" font-size="14">{title}</text>
"#
    );
    for (log, vertical) in
        ticks(x_span).map(|log| (log, true)).chain(ticks(y_span).map(|log| (log, false)))
    {
        let value = 10f64.powi(log);
        let (from, to, label, anchor) = if vertical {
            let ends = ((x(value), HEIGHT - MARGIN), (x(value), MARGIN));
            (ends.0, ends.1, (x(value), HEIGHT - MARGIN + 18.0), "middle")
        } else {
            ((MARGIN, y(value)), (WIDTH - MARGIN, y(value)), (MARGIN - 6.0, y(value) + 4.0), "end")
        };
        writeln!(
            svg,
            r##"<line x1="{:.1}" y1="{:.1}" x2="{:.1}" y2="{:.1}" stroke="#ddd"/>
<text x="{:.1}" y="{:.1}" text-anchor="{anchor}">{value}</text>"##,
            from.0, from.1, to.0, to.1, label.0, label.1
        )
        .unwrap();
    }
    for (index, ((name, points), color)) in lines.iter().zip(COLORS).enumerate() {
        let path: Vec<_> =
            points.iter().map(|&(a, b)| format!("{:.1},{:.1}", x(a), y(b))).collect();
        let legend = MARGIN + 16.0 * index as f64;
        writeln!(
            svg,
            r#"<polyline points="{}" fill="none" stroke="{color}" stroke-width="2"/>
<text x="{}" y="{legend}" fill="{color}" text-anchor="end">{name}</text>"#,
            path.join(" "),
            WIDTH - 6.0
        )
        .unwrap();
    }
    svg + "</svg>\n"
}

/// The powers of ten in a span of their logarithms.
fn ticks((low, high): (f64, f64)) -> impl Iterator<Item = i32> {
    low as i32..=high as i32
}
