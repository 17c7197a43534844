//! The guest's page tables: addresses are the same in both, and no page is both writable and
//! executable.
//!
//! ```text
//! 0x2000   PML4, PDPT, four page directories, and the page table of the first 2 MiB
//! 0x20000  the page tables of what else an image lies on
//! ```
//!
//! What is below the boot info, and these tables, is not mapped. All else is in pages of 2 MiB.

use std::ops::Range;

use solo5_abi::GUEST_MIN_BASE;
use solo5_abi::hvt::{MEMORY_UNIT, PAGE_TABLES_BASE};

use crate::image::PAGE;

const PDPT: u64 = PAGE_TABLES_BASE + PAGE;
const DIRECTORIES: u64 = PDPT + PAGE;
const FIRST_TABLE: u64 = DIRECTORIES + 4 * PAGE;
/// Where the page tables of an image beyond the first 2 MiB begin.
pub(crate) const MORE_BASE: u64 = 0x2_0000;
const ENTRIES: u64 = 512;

const PRESENT: u64 = 1;
const WRITABLE: u64 = 1 << 1;
/// In a page directory: a page of 2 MiB, and no table.
const LARGE: u64 = 1 << 7;
const NO_EXECUTE: u64 = 1 << 63;

/// What may be done with a page besides reading it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    ReadOnly,
    Write,
    Execute,
}

impl Access {
    const fn flags(self) -> u64 {
        PRESENT
            | match self {
                Self::ReadOnly => NO_EXECUTE,
                Self::Write => WRITABLE | NO_EXECUTE,
                Self::Execute => 0,
            }
    }
}

/// Whether there is room for the tables of an image that ends there.
pub(crate) fn reach(image_end: u64) -> bool {
    MORE_BASE + (units(image_end) - 1) * PAGE <= GUEST_MIN_BASE
}

/// Pieces of 2 MiB that what ends there lies on.
fn units(end: u64) -> u64 {
    end.div_ceil(MEMORY_UNIT).max(1)
}

fn table(unit: u64) -> u64 {
    if unit == 0 { FIRST_TABLE } else { MORE_BASE + (unit - 1) * PAGE }
}

/// The page tables, each with its address, for memory of this size and these pages, of which each
/// has its access; what is not named is writable from the image's base up, and not there below.
pub(crate) fn build(size: u64, pages: &[(Range<u64>, Access)]) -> Vec<(u64, Vec<u8>)> {
    let end = pages.iter().map(|(pages, _)| pages.end).max().unwrap_or(0);
    let by_pages = units(end);
    let directory = |unit: u64| {
        if unit < by_pages {
            table(unit) | PRESENT | WRITABLE
        } else if unit * MEMORY_UNIT < size {
            (unit * MEMORY_UNIT) | LARGE | Access::Write.flags()
        } else {
            0
        }
    };
    let page = |address: u64| {
        let named = pages.iter().find(|(pages, _)| pages.contains(&address));
        match named {
            Some((_, access)) => address | access.flags(),
            None if address >= GUEST_MIN_BASE && address < size => address | Access::Write.flags(),
            None => 0,
        }
    };

    let mut tables = vec![
        (PAGE_TABLES_BASE, bytes(|index| if index == 0 { PDPT | PRESENT | WRITABLE } else { 0 })),
        (
            PDPT,
            bytes(
                |index| {
                    if index < 4 { (DIRECTORIES + index * PAGE) | PRESENT | WRITABLE } else { 0 }
                },
            ),
        ),
    ];
    for number in 0..4 {
        let first = number * ENTRIES;
        tables.push((DIRECTORIES + number * PAGE, bytes(|index| directory(first + index))));
    }
    for unit in 0..by_pages {
        tables.push((table(unit), bytes(|index| page(unit * MEMORY_UNIT + index * PAGE))));
    }
    tables
}

fn bytes(entry: impl Fn(u64) -> u64) -> Vec<u8> {
    (0..ENTRIES).flat_map(|index| entry(index).to_le_bytes()).collect()
}

#[cfg(test)]
mod tests {
    use std::collections::HashMap;

    use super::*;

    /// Walks the tables as the processor does: where an address is, and what may be done there.
    fn walk(tables: &HashMap<u64, Vec<u8>>, address: u64) -> Option<(u64, Access)> {
        let entry = |table: u64, shift: u32| {
            let index = (address >> shift & 511) as usize * 8;
            let bytes = tables[&(table & 0x000f_ffff_ffff_f000)][index..index + 8].try_into();
            Some(u64::from_le_bytes(bytes.unwrap())).filter(|entry| entry & PRESENT != 0)
        };
        let directory = entry(entry(entry(PAGE_TABLES_BASE, 39)?, 30)?, 21)?;
        let (entry, mask) = if directory & LARGE != 0 {
            (directory, MEMORY_UNIT - 1)
        } else {
            (entry(directory, 12)?, PAGE - 1)
        };
        let access = match (entry & WRITABLE != 0, entry & NO_EXECUTE == 0) {
            (false, false) => Access::ReadOnly,
            (true, false) => Access::Write,
            (false, true) => Access::Execute,
            (true, true) => panic!("{address:#x} is both writable and executable"),
        };
        Some(((entry & 0x000f_ffff_ffff_f000 & !mask) | address & mask, access))
    }

    #[test]
    fn every_page_is_where_it_is_and_has_its_access() {
        let size = 4 << 30;
        let pages = [
            (0x1_0000..0x1_4000, Access::ReadOnly),
            (0x10_0000..0x30_1000, Access::Execute),
            (0x30_1000..0x30_3000, Access::ReadOnly),
            (0x30_4000..0x50_0000, Access::Write),
        ];
        let tables: HashMap<_, _> = build(size, &pages).into_iter().collect();
        for (address, access) in [
            (0, None),
            (0x1000, None),
            (0x2000, None),
            (0x8000, None),
            (0x1_0008, Some(Access::ReadOnly)),
            (0x1_4000, None),
            (0x2_0000, None),
            (0xf_ffff, None),
            (0x10_0000, Some(Access::Execute)),
            (0x30_0fff, Some(Access::Execute)),
            (0x30_1000, Some(Access::ReadOnly)),
            (0x30_3000, Some(Access::Write)),
            (0x50_0000, Some(Access::Write)),
            (0x60_0000, Some(Access::Write)),
            (1 << 30, Some(Access::Write)),
            (size - 1, Some(Access::Write)),
            (size, None),
        ] {
            assert_eq!(walk(&tables, address), access.map(|a| (address, a)), "{address:#x}");
        }
        assert!(tables.keys().all(|&table| walk(&tables, table).is_none()), "none sees a table");
    }

    #[test]
    fn memory_ends_where_it_ends() {
        let tables: HashMap<_, _> =
            build(4 << 20, &[(0x10_0000..0x10_1000, Access::Execute)]).into_iter().collect();
        assert_eq!(walk(&tables, (4 << 20) - 1), Some(((4 << 20) - 1, Access::Write)));
        assert_eq!(walk(&tables, 4 << 20), None);
    }

    #[test]
    fn an_image_whose_tables_would_reach_into_it_is_too_large() {
        assert!(reach(0x10_1000) && reach(448 << 20));
        assert!(!reach(452 << 20) && !reach(u64::MAX));
    }
}
