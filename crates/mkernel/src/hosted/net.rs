//! Network devices: descriptors that were open when the process started, one frame a read.

use std::cell::RefCell;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::rc::Rc;

use netdev::{Gone, Mac};
use rustix::fs::{OFlags, fcntl_getfl, fcntl_setfl};
use rustix::io::{Errno, read, write};
use rustix::net::SocketType;
use rustix::net::sockopt::socket_type;
use solo5_abi::manifest::is_name;

use super::local::local;
use super::wait;

/// MTU of a device whose MTU is not given: Ethernet's.
const DEFAULT_MTU: u16 = 1500;

local! {
    static DEVICES: RefCell<Vec<Device>> = const { RefCell::new(Vec::new()) };
}

#[derive(Debug)]
struct Device {
    name: &'static str,
    descriptor: Option<Rc<OwnedFd>>,
    mac: Option<Mac>,
    mtu: u16,
}

/// Attaches the image's devices as the options say: `--net:NAME=@FD`, with `--net-mac:NAME=MAC` and
/// `--net-mtu:NAME=MTU`.
pub(super) fn init(names: &'static [&'static str], options: &[String]) -> Result<(), String> {
    let mut devices: Vec<_> = names
        .iter()
        .map(|&name| Device { name, descriptor: None, mac: None, mtu: DEFAULT_MTU })
        .collect();
    let mut taken = Vec::new();
    for option in options {
        let malformed = || {
            format!(
                "malformed option '{option}': --net:NAME=@FD, --net-mac:NAME=MAC, --net-mtu:NAME=MTU"
            )
        };
        let (key, value) = option.split_once('=').ok_or_else(malformed)?;
        let (key, name) = key.split_once(':').filter(|(_, n)| is_name(n)).ok_or_else(malformed)?;
        let device = devices.iter_mut().find(|device| device.name == name).ok_or_else(|| {
            format!("no network device '{name}': this image has {}", names.join(", "))
        })?;
        match key {
            "--net" => {
                let number = value.strip_prefix('@').and_then(|n| n.parse().ok());
                let number = number.ok_or_else(malformed)?;
                if device.descriptor.is_some() || taken.contains(&number) {
                    return Err(format!("'{option}': the device or the descriptor is given twice"));
                }
                taken.push(number);
                device.descriptor = Some(Rc::new(adopt(number)?));
            }
            "--net-mac" => device.mac = Some(value.parse().map_err(|_| malformed())?),
            "--net-mtu" => device.mtu = value.parse().map_err(|_| malformed())?,
            _ => return Err(malformed()),
        }
    }
    for (handle, device) in devices.iter_mut().enumerate() {
        let Some(descriptor) = &device.descriptor else {
            return Err(format!(
                "network device '{name}' is not attached: start this image by `cargo mnet run \
                 --platform hosted`, or give it an open TAP by --net:{name}=@FD",
                name = device.name
            ));
        };
        wait::add(descriptor.as_fd(), handle as u64)
            .map_err(|errno| format!("network device '{}': {errno}", device.name))?;
    }
    DEVICES.with(|table| *table.borrow_mut() = devices);
    Ok(())
}

fn adopt(number: i32) -> Result<OwnedFd, String> {
    let failed = |errno: Errno| format!("descriptor {number} cannot be a network device: {errno}");
    if number <= 2 {
        return Err(failed(Errno::BADF));
    }
    // SAFETY: A number that is not open is only asked about, and fails.
    let flags = fcntl_getfl(unsafe { BorrowedFd::borrow_raw(number) }).map_err(failed)?;
    // SAFETY: It is open; whoever started the process left it so for this device, `init` takes each
    // number once, and nothing else in the process uses it.
    let descriptor = unsafe { OwnedFd::from_raw_fd(number) };
    fcntl_setfl(&descriptor, flags | OFlags::NONBLOCK).map_err(failed)?;
    Ok(descriptor)
}

/// Names of all network devices.
pub(crate) fn names() -> impl Iterator<Item = &'static str> {
    DEVICES.with(|table| table.borrow().iter().map(|d| d.name).collect::<Vec<_>>()).into_iter()
}

/// The device of this name.
pub(crate) fn open(name: &str) -> Option<Port> {
    DEVICES.with(|table| {
        let table = table.borrow();
        let (handle, device) = table.iter().enumerate().find(|(_, d)| d.name == name)?;
        let descriptor = Rc::clone(device.descriptor.as_ref()?);
        let mac = device.mac.unwrap_or_else(random_mac);
        let of_datagrams = socket_type(&descriptor) == Ok(SocketType::DGRAM);
        Some(Port { handle, descriptor, of_datagrams, mac, mtu: device.mtu })
    })
}

/// Throws away what has come for a device. One that is gone is left alone.
pub(crate) fn discard(handle: usize) {
    DEVICES.with(|table| {
        let table = table.borrow();
        if let Some(descriptor) = table.get(handle).and_then(|device| device.descriptor.as_ref()) {
            while read(descriptor, &mut [0]).is_ok_and(|length| length > 0) {}
        }
    });
}

/// A locally administered address.
fn random_mac() -> Mac {
    let mut mac = [0; 6];
    crate::fill_random(&mut mac);
    mac[0] = mac[0] & 0xfe | 0x02;
    Mac(mac)
}

/// A device: its handle is what the epoll set calls it.
#[derive(Debug)]
pub(crate) struct Port {
    handle: usize,
    descriptor: Rc<OwnedFd>,
    // A socket that has no end: what is read may be empty.
    of_datagrams: bool,
    mac: Mac,
    mtu: u16,
}

impl Port {
    pub(crate) fn handle(&self) -> usize {
        self.handle
    }

    pub(crate) fn mac(&self) -> Mac {
        self.mac
    }

    pub(crate) fn mtu(&self) -> u16 {
        self.mtu
    }

    fn descriptor(&self) -> BorrowedFd<'_> {
        self.descriptor.as_fd()
    }

    /// Reads a frame and says how long it is; `None` if there is none. What does not fit is lost.
    pub(crate) fn read(&mut self, room: &mut [u8]) -> Result<Option<usize>, Gone> {
        match read(self.descriptor(), room) {
            Ok(length) if length > 0 || self.of_datagrams => Ok(Some(length)),
            Err(Errno::AGAIN | Errno::INTR) => Ok(None),
            _ => Err(Gone),
        }
    }

    /// Writes a frame; `false` if the host takes none now.
    pub(crate) fn write(&mut self, frame: &[u8]) -> Result<bool, Gone> {
        match write(self.descriptor(), frame) {
            Ok(_) => Ok(true),
            Err(Errno::AGAIN | Errno::INTR | Errno::NOBUFS | Errno::NOMEM) => Ok(false),
            // The host has set its interface down, and may set it up again. Until then frames are
            // lost, as on a cable that is unplugged.
            Err(Errno::IO) => Ok(true),
            Err(_) => Err(Gone),
        }
    }

    /// Ends a batch of frames that were written: each has gone out by itself.
    pub(crate) fn flush(&mut self) {}
}

#[cfg(test)]
mod tests {
    use std::os::fd::IntoRawFd;
    use std::os::unix::net::{UnixDatagram, UnixStream};
    use std::time::Duration;

    use netdev::{Device as _, Pool};

    use super::*;
    use crate::{acquire, block_on, sleep, stats};

    fn attach(descriptor: impl IntoRawFd) {
        let option = format!("--net:service=@{}", descriptor.into_raw_fd());
        init(&["service"], &[option]).unwrap();
    }

    /// Whether the host is asked a few times at most while nothing can be done.
    async fn rests() -> bool {
        let before = stats().rounds;
        sleep(Duration::from_millis(100)).await;
        stats().rounds - before < 20
    }

    #[test]
    fn a_device_that_nobody_reads_lets_the_image_sleep() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        attach(theirs);
        block_on(async move {
            let device = acquire("service").unwrap();
            ours.send(b"a frame").unwrap();
            assert!(rests().await);
            // Whoever acquires it next reads what has come.
            drop(device);
            let mut device = acquire("service").unwrap();
            let readable = core::future::poll_fn(|cx| device.poll_receive(cx));
            crate::timeout(Duration::from_secs(30), readable).await.unwrap();
            let mut frames = 0;
            device.receive(&Pool::new(8, 2_048), 8, &mut |_| frames += 1).unwrap();
            assert_eq!(frames, 1);
        });
    }

    #[test]
    fn a_device_that_is_gone_lets_the_image_sleep() {
        let (ours, theirs) = UnixStream::pair().unwrap();
        attach(theirs);
        block_on(async move {
            let mut device = acquire("service").unwrap();
            drop(ours);
            assert!(device.receive(&Pool::new(8, 2_048), 1, &mut |_| ()).is_err());
            assert!(rests().await);
            drop(device);
            assert!(rests().await);
        });
    }

    #[test]
    fn an_empty_datagram_is_no_end_of_a_device() {
        let (ours, theirs) = UnixDatagram::pair().unwrap();
        attach(theirs);
        block_on(async move {
            let mut device = acquire("service").unwrap();
            for frame in [&b""[..], b"a frame"] {
                ours.send(frame).unwrap();
            }
            let mut lengths = Vec::new();
            let mut take = |frame: netdev::Packet| lengths.push(frame.bytes().len());
            device.receive(&Pool::new(8, 2_048), 8, &mut take).unwrap();
            assert_eq!(lengths, [0, 7]);
        });
    }
}
