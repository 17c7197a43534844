//! One line of what programs send: `NAME:VALUE|TYPE`, with `|@RATE` and `|#TAGS` behind it or not.

use core::ops::{Range, RangeInclusive};

/// Longest name, in bytes.
pub(crate) const MAX_NAME: usize = 200;

/// How large numbers are, but for 0 and their sign: so that sums of them never come to an end, and can
/// be written down.
const NUMBERS: Range<f64> = 1e-15..1e30;
const RATES: RangeInclusive<f64> = 1e-6..=1.0;

/// What is to be done to one metric.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Line<'a> {
    pub(crate) name: &'a str,
    pub(crate) change: Change,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Change {
    /// A counter is to be so much more (`c`).
    Count(f64),
    /// A gauge is to be this (`g`).
    Set(f64),
    /// A gauge is to be so much more, or less: its value has a sign.
    Add(f64),
    /// Something has taken so long, or is so large, and stands for so many (`ms`, `h`, `d`).
    Observe { value: f64, count: f64 },
}

impl<'a> Line<'a> {
    /// The metric of a line; `None` if it is malformed, or of another type.
    pub(crate) fn parse(line: &'a [u8]) -> Option<Self> {
        let line = core::str::from_utf8(line).ok()?;
        let (name, rest) = line.split_once(':')?;
        let is_part = |c: char| !c.is_control() && !c.is_whitespace() && !matches!(c, '|' | '@');
        if !(1..=MAX_NAME).contains(&name.len()) || !name.chars().all(is_part) {
            return None;
        }
        let mut parts = rest.split('|');
        let (number, kind) = (parts.next()?, parts.next()?);
        let value = finite(number)?;
        let mut rate = 1.0;
        for part in parts {
            match part.as_bytes().first() {
                Some(b'@') => rate = finite(&part[1..]).filter(|it| RATES.contains(it))?,
                Some(b'#') => {}
                _ => return None,
            }
        }
        let change = match kind {
            "c" => Change::Count(value / rate),
            "g" if number.starts_with(['+', '-']) => Change::Add(value),
            "g" => Change::Set(value),
            "ms" | "h" | "d" => Change::Observe { value, count: 1.0 / rate },
            _ => return None,
        };
        Some(Self { name, change })
    }
}

/// A number written in digits.
fn finite(text: &str) -> Option<f64> {
    let is_part = |byte: u8| byte.is_ascii_digit() || b"+-.eE".contains(&byte);
    let value: f64 = text.bytes().all(is_part).then(|| text.parse().ok())??;
    (value == 0.0 || NUMBERS.contains(&value.abs())).then_some(value)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn change(line: &str) -> Option<Change> {
        let parsed = Line::parse(line.as_bytes())?;
        assert_eq!(parsed.name, "a.b-c_d");
        Some(parsed.change)
    }

    #[test]
    fn each_type_changes_what_it_says() {
        assert_eq!(change("a.b-c_d:3|c"), Some(Change::Count(3.0)));
        assert_eq!(change("a.b-c_d:-1|c"), Some(Change::Count(-1.0)));
        assert_eq!(change("a.b-c_d:1|c|@0.1|#host:x,y"), Some(Change::Count(10.0)));
        assert_eq!(change("a.b-c_d:4.5|g"), Some(Change::Set(4.5)));
        assert_eq!(change("a.b-c_d:+4|g"), Some(Change::Add(4.0)));
        assert_eq!(change("a.b-c_d:-4|g"), Some(Change::Add(-4.0)));
        let one = Some(Change::Observe { value: 320.0, count: 1.0 });
        assert_eq!([change("a.b-c_d:320|ms"), change("a.b-c_d:320|h")], [one, one]);
        let four = Some(Change::Observe { value: 1.0, count: 4.0 });
        assert_eq!(change("a.b-c_d:1|d|@0.25"), four);
    }

    #[test]
    fn what_is_malformed_changes_nothing() {
        for bad in [
            "",
            ":1|c",
            "a",
            "a:1",
            "a:|c",
            "a:x|c",
            "a:1|",
            "a:1|x",
            "a:1|s",
            "a:inf|g",
            "a:NaN|g",
            "a:1e400|c",
            "a:1|c|@0",
            "a:1|c|@2",
            "a:1|c|@",
            "a:1|c|x",
            "a b:1|c",
            "a|b:1|c",
            "a\t:1|c",
            "a:1:2|c",
        ] {
            assert_eq!(Line::parse(bad.as_bytes()), None, "{bad}");
        }
        assert_eq!(Line::parse(b"\xff:1|c"), None);
        let long = "a".repeat(MAX_NAME + 1);
        assert_eq!(Line::parse(format!("{long}:1|c").as_bytes()), None);
        assert!(Line::parse(format!("{}:1|c", &long[1..]).as_bytes()).is_some());
    }

    proptest! {
        #[test]
        fn whatever_comes_is_taken_or_not(line: Vec<u8>) {
            let _ = Line::parse(&line);
        }

        #[test]
        fn what_is_counted_is_finite(value: f64, rate: f64) {
            let line = format!("a:{value}|c|@{rate}");
            if let Some(Line { change: Change::Count(count), .. }) = Line::parse(line.as_bytes()) {
                prop_assert!(count.abs() < 1e37);
            }
        }
    }
}
