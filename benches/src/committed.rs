use std::fs;
use std::path::PathBuf;
use std::process::ExitCode;

/// More than the committed figure, in percent, that is a failure.
const TOLERANCE: u64 = 3;

/// Figures that are committed, with which those that are measured are compared: a file of lines with
/// a figure and a name.
pub struct Committed {
    path: PathBuf,
    figures: Vec<(String, u64)>,
    bless: bool,
    failures: usize,
}

impl Committed {
    /// Those in a file of this package. If they are to be blessed, what is measured takes their place.
    #[must_use]
    pub fn read(file: &str, bless: bool) -> Self {
        let path = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join(file);
        let text = fs::read_to_string(&path).unwrap_or_default();
        Self { path, figures: parse(&text), bless, failures: 0 }
    }

    /// Prints a figure, and what is to be said about it: nothing if its growth does not matter.
    pub fn compare(&mut self, name: &str, figure: u64, matters: bool) {
        let said = self.verdict(name, figure, matters);
        println!("{figure:>8} {name}{said}");
    }

    fn verdict(&mut self, name: &str, figure: u64, matters: bool) -> String {
        let before = self.figures.iter_mut().find(|(known, _)| known == name);
        if self.bless {
            match before {
                Some((_, before)) => *before = figure,
                None => self.figures.push((name.to_owned(), figure)),
            }
            return String::new();
        }
        if !matters {
            return String::new();
        }
        let Some((_, before)) = before else {
            self.failures += 1;
            return ": not yet committed".to_owned();
        };
        let change = (figure as f64 / *before as f64 - 1.0) * 100.0;
        let is_worse = figure * 100 > *before * (100 + TOLERANCE);
        self.failures += usize::from(is_worse);
        format!("  {change:+.1} %{}", if is_worse { ": worse" } else { "" })
    }

    /// Writes those that were blessed. Fails if one is too much worse than before, or new.
    #[must_use]
    pub fn finish(self) -> ExitCode {
        let path = self.path.display();
        if self.bless {
            let lines = self.figures.iter().map(|(name, figure)| format!("{figure} {name}\n"));
            fs::write(&self.path, lines.collect::<String>()).expect("the figures can be written");
        }
        if self.failures > 0 {
            println!(
                "{} of them are more than {TOLERANCE} % above those in {path}, or not there: \
                 --bless commits them",
                self.failures
            );
            return ExitCode::FAILURE;
        }
        ExitCode::SUCCESS
    }
}

fn parse(text: &str) -> Vec<(String, u64)> {
    let parse = |line: &str| {
        let (figure, name) = line.split_once(' ')?;
        Some((name.to_owned(), figure.parse().ok()?))
    };
    text.lines().filter_map(parse).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn committed(bless: bool) -> Committed {
        let figures = parse("1000 a\n2000 b\n");
        Committed { path: PathBuf::new(), figures, bless, failures: 0 }
    }

    #[test]
    fn what_is_three_percent_worse_fails_and_what_is_better_does_not() {
        let mut committed = committed(false);
        assert_eq!(committed.verdict("a", 1_030, true), "  +3.0 %");
        assert_eq!(committed.verdict("b", 1_000, true), "  -50.0 %");
        assert_eq!(committed.failures, 0);
        assert_eq!(committed.verdict("b", 2_062, true), "  +3.1 %: worse");
        assert_eq!(committed.verdict("b", 9_999, false), "");
        assert_eq!(committed.failures, 1);
        assert_eq!(committed.verdict("c", 1, true), ": not yet committed");
        assert_eq!(committed.failures, 2);
    }

    #[test]
    fn what_is_blessed_takes_its_place_and_leaves_the_others_theirs() {
        let mut committed = committed(true);
        assert_eq!(committed.verdict("a", 5_000, true), "");
        assert_eq!(committed.verdict("c", 3, true), "");
        let expected = [("a", 5_000), ("b", 2_000), ("c", 3)];
        assert_eq!(committed.figures, expected.map(|(name, figure)| (name.to_owned(), figure)));
        assert_eq!(committed.failures, 0);
    }
}
