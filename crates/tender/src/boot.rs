//! The boot info pages: what the image finds when it starts.

use solo5_abi::{CMDLINE_SIZE, Entry, manifest};
use zerocopy::{Immutable, IntoBytes};

/// Most bytes that manifest and command line take together.
const MAX_REST: usize = 8 + manifest::MAX_ENTRIES * size_of::<Entry>() + CMDLINE_SIZE;

/// Where the boot info's parts lie.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Addresses {
    pub(crate) manifest: u64,
    pub(crate) cmdline: u64,
}

/// Most bytes that the pages of a boot info of type `B` take.
pub(crate) const fn most<B>() -> u64 {
    (size_of::<B>() + MAX_REST) as u64
}

/// Boot info, manifest and command line, one behind the other, as they stand in memory from `base`
/// on.
pub(crate) fn pages<B: IntoBytes + Immutable>(
    base: u64,
    info: impl FnOnce(Addresses) -> B,
    entries: &[Entry],
    cmdline: &[u8],
) -> Vec<u8> {
    let parts = [&manifest::header(entries.len()), entries.as_bytes()].concat();
    let manifest = base + size_of::<B>() as u64;
    let info = info(Addresses { manifest, cmdline: manifest + parts.len() as u64 });
    [info.as_bytes(), &parts, cmdline, &[0]].concat()
}

/// The arguments as one command line; `None` if the image has no room for it.
pub(crate) fn cmdline(args: &[String]) -> Option<Vec<u8>> {
    let line = args.join(" ").into_bytes();
    (line.len() < CMDLINE_SIZE && !line.contains(&0)).then_some(line)
}

#[cfg(test)]
mod tests {
    use solo5_abi::spt::{BOOT_INFO_BASE, BootInfo};
    use zerocopy::FromBytes;

    use super::*;

    #[test]
    fn boot_info_points_at_the_manifest_and_the_command_line_behind_it() {
        let info = |Addresses { manifest, cmdline }| BootInfo {
            mem_size: 7,
            kernel_end: 6,
            cmdline,
            manifest,
            epoll: 5,
            timer: 4,
        };
        let entries = [Entry::RESERVED, Entry::net("service")];
        let pages = pages(BOOT_INFO_BASE, info, &entries, b"--port=7");
        let (info, rest) = BootInfo::read_from_prefix(&pages).unwrap();
        assert_eq!((info.mem_size, info.kernel_end, info.epoll, info.timer), (7, 6, 5, 4));
        assert_eq!(info.manifest, 0x11028);
        assert_eq!(info.cmdline, 0x11028 + 8 + 2 * 104);
        assert_eq!(manifest::parse(&rest[..8 + 2 * 104]).unwrap().len(), 2);
        assert_eq!(&rest[8 + 2 * 104..], b"--port=7\0");
    }

    #[test]
    fn a_command_line_is_at_most_8192_bytes_with_its_end() {
        let args = |length| ["x".repeat(length), "y".to_owned()];
        assert_eq!(cmdline(&args(8189)).unwrap().len(), 8191);
        assert_eq!(cmdline(&args(8190)), None);
        assert_eq!(cmdline(&["a\0b".to_owned()]), None);
        assert_eq!(cmdline(&[]), Some(vec![]));
    }
}
