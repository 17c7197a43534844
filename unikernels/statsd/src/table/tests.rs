#![allow(clippy::unwrap_used, reason = "they are tests")]

use proptest::prelude::*;

use super::*;
use crate::line::MAX_NAME;

fn table(payloads: &[&str]) -> Table {
    let mut table = Table::default();
    payloads.iter().for_each(|payload| table.take(payload.as_bytes()));
    table
}

fn ask(table: &Table, question: &str) -> String {
    let answer = table.answer(question.as_bytes(), 5).unwrap();
    assert!(answer.len() <= MAX_ANSWER);
    answer
}

#[test]
fn counters_add_up_gauges_stand_and_timers_are_summed_up() {
    let table =
        table(&["a:1|c\nb:2|c\r\na:2|c|@0.5\n", "g:5|g\ng:-7|g\na:1|g", "t:3|ms\nt:1|ms|@0.5"]);
    assert_eq!(ask(&table, "counters"), "a 5\nb 2\nEND\n");
    assert_eq!(ask(&table, "gauges\n"), "a 1\ng -2\nEND\n");
    assert_eq!(ask(&table, "timers"), "t count=3 sum=5 min=1 max=3\nEND\n");
    let stats = "datagrams 3\ndropped 5\nlines 8\nmalformed 0\nrefused 0\nnames 5\nEND\n";
    assert_eq!(ask(&table, "stats"), stats);
}

#[test]
fn what_does_not_go_into_one_answer_is_asked_for_again() {
    let mut table = Table::default();
    for number in 0..1_000 {
        table.take(format!("name.{number:04}:{number}|c").as_bytes());
    }
    let (mut question, mut lines) = (String::from("counters"), Vec::new());
    loop {
        let answer = ask(&table, &question);
        let (page, last) = answer.trim_end().rsplit_once('\n').unwrap();
        lines.extend(page.lines().map(String::from));
        if last == "END" {
            break;
        }
        question = format!("counters {}", last.strip_prefix("MORE ").unwrap());
    }
    let expected = (0..1_000).map(|number| format!("name.{number:04} {number}"));
    assert_eq!(lines, expected.collect::<Vec<_>>());
    // The longest that there can be, twice in an answer.
    table.take(format!("{}:{}|ms", "a".repeat(MAX_NAME), -1.234_567_890_123_456_7e29).as_bytes());
    for value in ["1e-15", "1.000000000000001e-15", "-1e-15"] {
        table.take(format!("{}:{value}|ms", "a".repeat(MAX_NAME)).as_bytes());
    }
    table.take(format!("{}b:1|ms", "a".repeat(MAX_NAME - 1)).as_bytes());
    assert!(ask(&table, "timers").ends_with(END));
    assert_eq!(ask(&table, "timers b"), END);
}

#[test]
fn no_more_names_are_kept_than_there_is_room_for() {
    let mut table = Table::default();
    for number in 0..MAX_NAMES + 10 {
        table.take(format!("{number}:1|c").as_bytes());
    }
    table.take(b"new:1|g\n0:1|c\nbad");
    assert_eq!((table.names(), table.refused, table.malformed), (MAX_NAMES, 11, 1));
    assert_eq!(table.counters["0"], 2.0);
}

#[test]
fn what_is_no_question_is_not_answered_least_of_all_an_answer() {
    let table = table(&["counters:1|c", "stats:2|c"]);
    for other in ["", "x", "counter", "stats x", "END\n", "counters\n\n", "counters a\nb"] {
        assert_eq!(table.answer(other.as_bytes(), 0), None, "{other}");
    }
    for question in ["counters", "counters counters", "stats", "timers"] {
        let answer = ask(&table, question);
        assert_eq!(table.answer(answer.as_bytes(), 0), None, "{answer}");
    }
}

proptest! {
    #[test]
    fn whatever_comes_is_counted_as_something(payload: Vec<u8>, question: Vec<u8>) {
        let mut table = Table::default();
        table.take(&payload);
        let lines = payload.split(|&byte| byte == b'\n').filter(|line| !line.is_empty()).count();
        prop_assert_eq!(table.lines + table.malformed, lines as u64);
        let _ = table.answer(&question, 0);
    }
}
