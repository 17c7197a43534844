//! The manifest: the devices that an image asks for, and what the tender attached to them.

use core::mem::{offset_of, size_of};
use core::{fmt, str};

use zerocopy::{FromBytes, Immutable, IntoBytes, KnownLayout};

/// Most entries that a manifest may have, the reserved first one included.
pub const MAX_ENTRIES: usize = 64;
/// Longest device name in characters.
pub const MAX_NAME: usize = 67;

const VERSION: u32 = 1;

/// What a manifest entry asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Kind {
    /// A block device.
    Block = 1,
    /// A network device.
    Net = 2,
    /// The first entry, which is nobody's.
    ReservedFirst = 1 << 30,
}

/// Whether `name` may name a device: 1 to [`MAX_NAME`] of `A-Z a-z 0-9`.
#[must_use]
pub const fn is_name(name: &str) -> bool {
    let bytes = name.as_bytes();
    if bytes.is_empty() || bytes.len() > MAX_NAME {
        return false;
    }
    let mut i = 0;
    while i < bytes.len() {
        if !bytes[i].is_ascii_alphanumeric() {
            return false;
        }
        i += 1;
    }
    true
}

/// One device of the manifest (`struct mft_entry`), 104 bytes.
///
/// The image writes its name and kind; the tender fills in the rest before the image starts.
#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
pub struct Entry {
    name: [u8; MAX_NAME + 1],
    kind: u32,
    /// Block: `u64` capacity, `u16` block size. Net: `u8` MAC\[6\], `u16` MTU.
    properties: [u8; 16],
    /// The host descriptor in its low half, or a pointer of the tender's.
    backing: u64,
    attached: u8,
    reserved: [u8; 7],
}

const _: () = assert!(size_of::<Entry>() == 104);
const _: () = assert!(offset_of!(Entry, kind) == 68);
const _: () = assert!(offset_of!(Entry, properties) == 72);
const _: () = assert!(offset_of!(Entry, backing) == 88);
const _: () = assert!(offset_of!(Entry, attached) == 96);

impl Entry {
    /// The entry that comes first in every manifest.
    pub const RESERVED: Self = Self {
        name: [0; MAX_NAME + 1],
        kind: Kind::ReservedFirst as u32,
        properties: [0; 16],
        backing: 0,
        attached: 0,
        reserved: [0; 7],
    };

    /// Asks for a network device of this name.
    ///
    /// # Panics
    /// If `name` is none (see [`is_name`]): while compiling, when used in a constant.
    #[must_use]
    pub const fn net(name: &str) -> Self {
        Self::new(Kind::Net, name)
    }

    const fn new(kind: Kind, name: &str) -> Self {
        assert!(is_name(name), "a device name is 1 to 67 of A-Z a-z 0-9");
        let mut entry = Self::RESERVED;
        entry.kind = kind as u32;
        let mut i = 0;
        while i < name.len() {
            entry.name[i] = name.as_bytes()[i];
            i += 1;
        }
        entry
    }

    /// The device's name; empty when it is not terminated or no valid name.
    #[must_use]
    pub fn name(&self) -> &str {
        let length = self.name.iter().position(|&b| b == 0).unwrap_or(0);
        str::from_utf8(&self.name[..length]).ok().filter(|name| is_name(name)).unwrap_or("")
    }

    /// What is asked for; `None` if it is nothing that this ABI knows.
    #[must_use]
    pub const fn kind(&self) -> Option<Kind> {
        match self.kind {
            k if k == Kind::Block as u32 => Some(Kind::Block),
            k if k == Kind::Net as u32 => Some(Kind::Net),
            k if k == Kind::ReservedFirst as u32 => Some(Kind::ReservedFirst),
            _ => None,
        }
    }

    /// Whether the tender has attached a device.
    #[must_use]
    pub const fn is_attached(&self) -> bool {
        self.attached != 0
    }

    /// The host descriptor behind an attached device (spt).
    #[must_use]
    pub const fn host_descriptor(&self) -> i32 {
        self.backing as u32 as i32
    }

    /// MAC address of an attached network device.
    #[must_use]
    pub const fn mac(&self) -> [u8; 6] {
        let p = &self.properties;
        [p[0], p[1], p[2], p[3], p[4], p[5]]
    }

    /// MTU of an attached network device: bytes of IP in a frame.
    #[must_use]
    pub const fn mtu(&self) -> u16 {
        u16::from_ne_bytes([self.properties[6], self.properties[7]])
    }

    /// Capacity of an attached block device in bytes.
    #[must_use]
    pub const fn capacity(&self) -> u64 {
        let p = &self.properties;
        u64::from_ne_bytes([p[0], p[1], p[2], p[3], p[4], p[5], p[6], p[7]])
    }

    /// Block size of an attached block device in bytes.
    #[must_use]
    pub const fn block_size(&self) -> u16 {
        u16::from_ne_bytes([self.properties[8], self.properties[9]])
    }

    /// Attaches a network device: the tender's part.
    pub fn attach_net(&mut self, host_descriptor: i32, mac: [u8; 6], mtu: u16) {
        self.properties = [0; 16];
        self.properties[..6].copy_from_slice(&mac);
        self.properties[6..8].copy_from_slice(&mtu.to_ne_bytes());
        self.attach(host_descriptor);
    }

    /// Attaches a block device: the tender's part.
    pub fn attach_block(&mut self, host_descriptor: i32, capacity: u64, block_size: u16) {
        self.properties = [0; 16];
        self.properties[..8].copy_from_slice(&capacity.to_ne_bytes());
        self.properties[8..10].copy_from_slice(&block_size.to_ne_bytes());
        self.attach(host_descriptor);
    }

    fn attach(&mut self, host_descriptor: i32) {
        self.backing = u64::from(host_descriptor as u32);
        self.attached = 1;
    }

    /// Takes back what only the tender may say, as an image may have written anything there.
    pub fn detach(&mut self) {
        *self = Self { name: self.name, kind: self.kind, ..Self::RESERVED };
    }
}

/// Reads a manifest as it stands in an `MFT1` note behind its padding: entry by entry, in order.
///
/// # Errors
/// What is wrong with it. The entries themselves are as the image wrote them.
pub fn parse(bytes: &[u8]) -> Result<impl ExactSizeIterator<Item = Entry>, ManifestError> {
    let (header, entries) =
        Header::read_from_prefix(bytes).map_err(|_| ManifestError::Size(bytes.len()))?;
    if header.version != VERSION {
        return Err(ManifestError::Version(header.version));
    }
    let count = header.entries as usize;
    if !(1..=MAX_ENTRIES).contains(&count) {
        return Err(ManifestError::Entries(header.entries));
    }
    if entries.len() != count * size_of::<Entry>() {
        return Err(ManifestError::Size(bytes.len()));
    }
    Ok(entries
        .chunks_exact(size_of::<Entry>())
        .map(|entry| Entry::read_from_bytes(entry).unwrap_or(Entry::RESERVED)))
}

/// The 8 bytes that precede `entries` entries in memory.
#[must_use]
pub fn header(entries: usize) -> [u8; 8] {
    let mut bytes = [0; 8];
    bytes[..4].copy_from_slice(&VERSION.to_ne_bytes());
    bytes[4..].copy_from_slice(&(entries as u32).to_ne_bytes());
    bytes
}

/// Why a manifest cannot be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ManifestError {
    /// It is of another version than 1.
    Version(u32),
    /// It has this many entries, which is none or more than [`MAX_ENTRIES`].
    Entries(u32),
    /// It is this many bytes long, which does not fit its entries.
    Size(usize),
}

impl fmt::Display for ManifestError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Version(version) => write!(f, "manifest version {version}, not {VERSION}"),
            Self::Entries(count) => write!(f, "{count} manifest entries, not 1 to {MAX_ENTRIES}"),
            Self::Size(size) => write!(f, "{size} bytes do not fit the manifest's entries"),
        }
    }
}

impl core::error::Error for ManifestError {}

/// The manifest (`struct mft`): a version, and the devices that an image uses.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Manifest<const N: usize> {
    header: Header,
    entries: [Entry; N],
}

#[derive(Clone, Copy, Debug, FromBytes, IntoBytes, Immutable, KnownLayout)]
#[repr(C)]
struct Header {
    version: u32,
    entries: u32,
}

const _: () = assert!(offset_of!(Manifest<1>, entries) == 8);

impl<const N: usize> Manifest<N> {
    /// A manifest of these entries, of which the first is [`Entry::RESERVED`].
    ///
    /// # Panics
    /// If there are none, more than [`MAX_ENTRIES`], or the first is not the reserved one: while
    /// compiling, when used in a constant.
    #[must_use]
    pub const fn new(entries: [Entry; N]) -> Self {
        assert!(N >= 1 && N <= MAX_ENTRIES, "a manifest has 1 to 64 entries");
        assert!(
            matches!(entries[0].kind(), Some(Kind::ReservedFirst)),
            "the first entry of a manifest is the reserved one"
        );
        Self { header: Header { version: VERSION, entries: N as u32 }, entries }
    }

    /// The device of this name and its index, which is its handle.
    #[must_use]
    pub fn entry(&self, name: &str) -> Option<(usize, &Entry)> {
        self.entries.iter().enumerate().find(|(_, entry)| entry.name() == name && !name.is_empty())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: Manifest<2> = Manifest::new([Entry::RESERVED, Entry::net("service")]);

    fn bytes(manifest: &Manifest<2>) -> Vec<u8> {
        [manifest.header.as_bytes(), manifest.entries.as_bytes()].concat()
    }

    #[test]
    fn a_manifest_reads_back_as_it_was_written() {
        let bytes = bytes(&MANIFEST);
        assert_eq!(bytes.len(), 8 + 2 * 104);
        assert_eq!(bytes[..8], header(2));

        let entries: Vec<_> = parse(&bytes).unwrap().collect();
        assert_eq!(entries[0].kind(), Some(Kind::ReservedFirst));
        assert_eq!((entries[1].name(), entries[1].kind()), ("service", Some(Kind::Net)));
        assert!(!entries[1].is_attached());
    }

    #[test]
    fn a_manifest_that_is_not_whole_is_refused() {
        let good = bytes(&MANIFEST);
        let parse = |bytes: &[u8]| parse(bytes).map(|entries| entries.len());
        assert_eq!(parse(&good), Ok(2));
        assert_eq!(parse(&good[..7]), Err(ManifestError::Size(7)));
        assert_eq!(parse(&good[..215]), Err(ManifestError::Size(215)));
        assert_eq!(parse(&[&good[..], &[0]].concat()), Err(ManifestError::Size(217)));
        assert_eq!(parse(&[&[2, 0, 0, 0], &good[4..]].concat()), Err(ManifestError::Version(2)));
        for count in [0u32, 65, u32::MAX] {
            let bytes = [&good[..4], &count.to_le_bytes(), &good[8..]].concat();
            assert_eq!(parse(&bytes), Err(ManifestError::Entries(count)));
        }
    }

    #[test]
    fn what_the_tender_attaches_is_what_the_image_finds() {
        let mut entry = Entry::net("service");
        entry.attach_net(7, [2, 0, 0, 0, 0, 9], 1500);
        assert_eq!((entry.host_descriptor(), entry.is_attached()), (7, true));
        assert_eq!((entry.mac(), entry.mtu()), ([2, 0, 0, 0, 0, 9], 1500));
        entry.attach_block(-1, 1 << 40, 512);
        assert_eq!((entry.capacity(), entry.block_size()), (1 << 40, 512));
        assert_eq!(entry.host_descriptor(), -1);
        entry.detach();
        assert!(!entry.is_attached());
        assert_eq!((entry.name(), entry.mtu()), ("service", 0));
    }

    #[test]
    fn a_name_without_an_end_or_of_other_characters_is_none() {
        let mut entry = Entry::net("service");
        entry.name = [b'x'; MAX_NAME + 1];
        assert_eq!(entry.name(), "");
        entry.name[..3].copy_from_slice(b"a-b");
        entry.name[3] = 0;
        assert_eq!(entry.name(), "");
        assert!(is_name(&"x".repeat(MAX_NAME)));
        assert!(!is_name(&"x".repeat(MAX_NAME + 1)));
    }
}
