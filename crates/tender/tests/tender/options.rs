//! What the tender says of images, devices and options that it cannot use: one line, and status 1.

use std::net::UdpSocket;
use std::process::Command;

use crate::elf::{Elf, abi};
use crate::guest::{Code, Image, output, tender};
use solo5_abi::Entry;

fn image() -> Image {
    Code::default().exit(0).image(&[Entry::net("service")])
}

/// What is said of a command that fails, without the tender's name.
#[track_caller]
fn error(command: Command) -> String {
    let output = output(command);
    assert_eq!((output.status, &*output.stdout), (1, ""), "{output:?}");
    let line = output.stderr.strip_prefix("mnet-tender: ").and_then(|line| line.strip_suffix('\n'));
    let line = line.unwrap_or_else(|| panic!("{output:?}"));
    assert!(!line.contains('\n'), "{line}");
    line.to_owned()
}

fn with(options: &[&str]) -> String {
    error(image().tender(options, &[]))
}

fn plain(args: &[&str]) -> String {
    let mut command = tender();
    command.args(args);
    error(command)
}

#[test]
fn an_image_that_cannot_be_run_is_named() {
    assert_eq!(
        plain(&["/nonexistent/echo"]),
        "the image /nonexistent/echo cannot be read: No such file or directory (os error 2)"
    );
    assert_eq!(plain(&["/"]), "the image / is not a file; name the image itself");
    assert_eq!(
        plain(&["/etc/passwd"]),
        "the image /etc/passwd is not an ELF file; give an image built for spt"
    );
    let mut virtio = Elf::new(b"", &[]);
    virtio.notes[0] = abi(3, 2);
    let virtio = Image::new(&virtio);
    let expected = format!(
        "the image {} is built for virtio, not for spt or hvt; build it for spt",
        virtio.path.display()
    );
    assert_eq!(error(virtio.tender(&[], &[])), expected);
    assert_eq!(plain(&[]), "there is no image to run; give one (see --help)");
}

#[test]
fn a_device_that_the_manifest_lacks_is_named_with_those_that_it_has() {
    assert_eq!(
        with(&["--net:servce=user"]),
        "--net:servce: the image has no such device; it has the network service"
    );
    assert_eq!(
        with(&["--net:service=user", "--block:disk=/dev/null"]),
        "--block:disk: the image has no such device; it has no block device"
    );
    assert_eq!(
        with(&["--net:service=user", "--net-mac:other=02:00:00:00:00:01"]),
        "--net-mac:other: the image has no such device; it has the network service"
    );
    assert_eq!(
        with(&["--net:service=user", "--net:service=user"]),
        "--net:service is given twice; give it once"
    );
}

#[test]
fn a_capture_that_there_cannot_be_is_refused_with_what_to_do() {
    assert_eq!(
        with(&["--net:service=tap:tap0", "--pcap:service=x.pcap"]),
        "the network service: only what passes on a user network is captured; \
         use tcpdump -i tap0 -w x.pcap"
    );
    assert_eq!(
        with(&["--net:service=user", "--pcap:service=/nonexistent/x.pcap"]),
        "the network service: cannot write what passes to /nonexistent/x.pcap: \
         No such file or directory (os error 2)"
    );
    assert_eq!(
        with(&["--net:service=user", "--pcap:other=x.pcap"]),
        "--pcap:other: the image has no such device; it has the network service"
    );
}

#[test]
fn a_device_that_is_not_attached_is_named_with_how_to_attach_it() {
    assert_eq!(
        with(&[]),
        "the image's network service is not attached; give it one: --net:service=user"
    );
}

#[test]
fn options_that_make_no_sense_are_named_with_what_does() {
    for (options, expected) in [
        (&["--frob"][..], "there is no option --frob; see --help"),
        (&["-x"], "there is no option -x; see --help"),
        (
            &["--mem=lots"],
            "--mem: \"lots\" is no amount of memory; give a number of MiB, such as 512",
        ),
        (&["--mem=0"], "--mem: \"0\" is no amount of memory; give a number of MiB, such as 512"),
        (
            &["--net-mac:service=xx"],
            "--net-mac:service: not a MAC address, such as 02:00:00:00:00:01",
        ),
        (
            &["--publish=7"],
            "--publish: \"7\" is no port to publish: there are not two ports; give \
             [ADDR:]HOST:GUEST/udp, such as 127.0.0.1:7007:7/udp",
        ),
        (
            &["--publish=7007:7/tcp"],
            "--publish: \"7007:7/tcp\" is no port to publish: \"tcp\" is not published, only udp; \
             give [ADDR:]HOST:GUEST/udp, such as 127.0.0.1:7007:7/udp",
        ),
        (
            &["--net:service=xdp:eth0"],
            "--net:service: xdp: is not supported yet; give user, tap:IF or @FD",
        ),
        (&["--net:=user"], "a device option needs the device's name, as in --net:service=user"),
        (
            &["--net:service=user", "--net-mac:service=01:00:5e:00:00:01"],
            "the network service: 01:00:5e:00:00:01 cannot be its MAC address; give one of a \
             single card, such as 02:00:00:00:00:01",
        ),
        (
            &["--net:service=@99"],
            "the network service: descriptor 99 is not open; open a TAP under this number first",
        ),
        (
            &["--net:service=nosuchtap0"],
            "the network service: there is no interface nosuchtap0; make it, as root: ip tuntap add \
             nosuchtap0 mode tap user $USER",
        ),
    ] {
        assert_eq!(with(options), expected);
    }
}

#[test]
fn too_little_and_too_much_memory_is_refused() {
    assert_eq!(
        with(&["--net:service=user", "--mem=1"]),
        "--mem=1 is too small for this image; give at least 2"
    );
    for mem in ["--mem=1000000000", "--mem=17592186044415"] {
        let said = with(&["--net:service=user", mem]);
        assert!(said.starts_with(mem) && said.contains(" is too large: "), "{said}");
    }
}

#[test]
fn an_hvt_image_has_from_2_mib_to_4_gib() {
    let mut hvt = Elf::new(b"\xf4", &[]);
    hvt.notes[0] = abi(1, 2);
    let hvt = Image::new(&hvt);
    let with = |mem: &str| error(hvt.tender(&[mem], &[]));
    assert_eq!(with("--mem=1"), "--mem=1 is too small for this image; give at least 2");
    assert_eq!(
        with("--mem=4097"),
        "--mem=4097 is too large: an hvt image has at most 4096; give less"
    );
}

#[test]
fn a_port_that_cannot_be_published_is_named() {
    let taken = UdpSocket::bind("127.0.0.1:0").unwrap();
    let port = taken.local_addr().unwrap().port();
    let publish = format!("--publish={port}:7/udp");
    assert_eq!(
        with(&["--net:service=user", &publish]),
        format!(
            "cannot publish 127.0.0.1:{port}/udp -> 7: the port is taken by another program; \
             publish another, or stop that program"
        )
    );
    assert_eq!(
        with(&["--net:service=user", "--publish=192.0.2.1:7007:7"]),
        "cannot publish 192.0.2.1:7007/udp -> 7: the host has no such address; give one of its \
         own, or 0.0.0.0 for all"
    );
    let image = Code::default().exit(0).image(&[]);
    assert_eq!(
        error(image.tender(&["--publish=7007:7"], &[])),
        "cannot publish 127.0.0.1:7007/udp -> 7: no network of the image is `user`; attach one: \
         --net:NAME=user"
    );
}

#[test]
fn a_command_line_that_is_too_long_is_refused() {
    let long = "x".repeat(8192);
    let image = image();
    let command = image.tender(&["--net:service=user"], &[&long]);
    assert!(error(command).starts_with("the image's arguments are longer than 8191 bytes"));
}

#[test]
fn help_and_version_are_said_on_standard_output() {
    let run = |option: &str| {
        let mut command = tender();
        command.arg(option);
        output(command)
    };
    let help = run("--help");
    assert!(help.stdout.contains("--net:NAME=user") && help.stdout.lines().count() < 40);
    assert!(help.stdout.lines().all(|line| line.len() <= 90));
    assert_eq!((help.status, &*help.stderr), (0, ""));
    assert!(run("--version").stdout.starts_with("mnet-tender "));
}
