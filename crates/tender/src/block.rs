//! Block devices: files, or block devices of the host.

use std::fs::OpenOptions;
use std::io::{self, Seek, SeekFrom};
use std::os::fd::OwnedFd;
use std::path::{Path, PathBuf};

use crate::device::Backing;

/// Block size in bytes unless another is asked for.
pub(crate) const DEFAULT_SIZE: u16 = 512;

/// Opens what is at `path` as a block device.
pub(crate) fn open(path: &Path, block_size: u16) -> Result<(OwnedFd, Backing), BlockError> {
    if block_size < DEFAULT_SIZE || !block_size.is_power_of_two() {
        return Err(BlockError::Size(block_size));
    }
    let failed = |source| BlockError::Open { path: path.to_owned(), source };
    let mut file = OpenOptions::new().read(true).write(true).open(path).map_err(failed)?;
    // A block device says its size only so.
    let capacity = file.seek(SeekFrom::End(0)).map_err(failed)?;
    if capacity == 0 || capacity % u64::from(block_size) != 0 {
        return Err(BlockError::Capacity { path: path.to_owned(), capacity, block_size });
    }
    Ok((file.into(), Backing::Block { capacity, block_size }))
}

/// Why a block device cannot be attached.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BlockError {
    /// It cannot be opened for reading and writing.
    #[error("{} cannot be opened: {source}", path.display())]
    Open {
        /// The file.
        path: PathBuf,
        /// Why.
        source: io::Error,
    },
    /// It holds no whole number of blocks, or none at all.
    #[error(
        "{} is {capacity} bytes long; make it a multiple of {block_size}, and not empty",
        path.display()
    )]
    Capacity {
        /// The file.
        path: PathBuf,
        /// Its size in bytes.
        capacity: u64,
        /// The size of a block in bytes.
        block_size: u16,
    },
    /// No block is of this size.
    #[error("a block of {0} bytes is none; give a power of two from 512 to 32768")]
    Size(u16),
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    #[test]
    fn a_file_of_whole_blocks_is_a_block_device() {
        let path = std::env::temp_dir().join(format!("tender-block-{}", std::process::id()));
        fs::write(&path, [0; 4096]).unwrap();
        let open = |size| open(&path, size).map(|(_, backing)| backing);
        assert_eq!(open(512).unwrap(), Backing::Block { capacity: 4096, block_size: 512 });
        assert!(matches!(open(8192), Err(BlockError::Capacity { capacity: 4096, .. })));
        assert!(matches!(open(256), Err(BlockError::Size(256))));
        assert!(matches!(open(1000), Err(BlockError::Size(1000))));
        fs::write(&path, []).unwrap();
        assert!(matches!(open(512), Err(BlockError::Capacity { capacity: 0, .. })));
        fs::remove_file(&path).unwrap();
        assert!(matches!(open(512), Err(BlockError::Open { .. })));
    }
}
