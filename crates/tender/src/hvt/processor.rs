//! The virtual machine: one processor in long mode, as Solo5 starts it, and nothing else.

use kvm_bindings::{
    CpuId, KVM_MAX_CPUID_ENTRIES, kvm_dtable, kvm_regs, kvm_segment, kvm_sregs,
    kvm_userspace_memory_region,
};
use kvm_ioctls::{IoEventAddress, Kvm, NoDatamatch, VcpuExit, VcpuFd, VmFd};
use rustix::io::Errno;
use solo5_abi::hvt::{
    CODE_SELECTOR, DATA_SELECTOR, GDT_BASE, KICK_PORT, PAGE_TABLES_BASE, STACK_OFFSET,
};
use vmm_sys_util::eventfd::EventFd;

use super::calls::Calls;
use super::memory::Memory;
use super::refusal::{Fault, Refusal};

/// Null, code and data, as they stand in the GDT: flat, accessed.
pub(crate) const GDT: [u64; 3] = [0, 0x00af_9900_0000_ffff, 0x00cf_9300_0000_ffff];

const CR0_PE: u64 = 1;
const CR0_NE: u64 = 1 << 5;
const CR0_WP: u64 = 1 << 16;
const CR0_PG: u64 = 1 << 31;
const CR4_PAE: u64 = 1 << 5;
const CR4_OSFXSR: u64 = 1 << 9;
const CR4_OSXMMEXCPT: u64 = 1 << 10;
const EFER_LME: u64 = 1 << 8;
const EFER_LMA: u64 = 1 << 10;
/// Beyond Solo5: without it no page could be kept from being executed.
const EFER_NXE: u64 = 1 << 11;
const RFLAGS_FIXED: u64 = 1 << 1;

/// A virtual machine. Its memory outlives it, as the process ends with it.
pub(crate) struct Machine {
    vm: VmFd,
    processor: VcpuFd,
}

impl Machine {
    /// One with this memory.
    pub(crate) fn new(kvm: &Kvm, memory: &'static Memory) -> Result<Self, Errno> {
        let vm = kvm.create_vm().map_err(errno)?;
        let region = kvm_userspace_memory_region {
            slot: 0,
            flags: 0,
            guest_phys_addr: 0,
            memory_size: memory.size(),
            userspace_addr: memory.host_address(),
        };
        // SAFETY: the region is memory that is mapped for ever, and that this process uses by
        // volatile accesses only.
        unsafe { vm.set_user_memory_region(region) }.map_err(errno)?;
        let processor = vm.create_vcpu(0).map_err(errno)?;
        let mut cpuid = kvm.get_supported_cpuid(KVM_MAX_CPUID_ENTRIES).map_err(errno)?;
        restrict(&mut cpuid);
        processor.set_cpuid2(&cpuid).map_err(errno)?;
        Ok(Self { vm, processor })
    }

    /// How many times a second the processor's time stamp counter counts.
    pub(crate) fn frequency(&self) -> Result<u64, Errno> {
        Ok(u64::from(self.processor.get_tsc_khz().map_err(errno)?) * 1_000)
    }

    /// Lets each `out` to the ring's port be told there, without an exit of the guest.
    pub(crate) fn tell_kicks(&self, kick: &EventFd) -> Result<(), Errno> {
        let port = IoEventAddress::Pio(KICK_PORT.into());
        // Of whatever width: a kick says nothing but that there is something.
        self.vm.register_ioevent(kick, &port, NoDatamatch).map_err(errno)
    }

    /// Sets the processor to the start of an image.
    pub(crate) fn set_up(&self, entry: u64, mem_size: u64, boot_info: u64) -> Result<(), Errno> {
        let before = self.processor.get_sregs().map_err(errno)?;
        let code = kvm_segment {
            limit: u32::MAX,
            selector: CODE_SELECTOR,
            // Execute only, accessed.
            type_: 9,
            present: 1,
            s: 1,
            l: 1,
            g: 1,
            ..kvm_segment::default()
        };
        let data = kvm_segment { selector: DATA_SELECTOR, type_: 3, l: 0, db: 1, ..code };
        // A task state that is none: virtualization wants one.
        let task = kvm_segment { type_: 11, present: 1, ..kvm_segment::default() };
        let gdt_limit = size_of_val(&GDT) as u16 - 1;
        let sregs = kvm_sregs {
            cs: code,
            ds: data,
            es: data,
            fs: data,
            gs: data,
            ss: data,
            tr: task,
            ldt: kvm_segment { unusable: 1, ..kvm_segment::default() },
            gdt: kvm_dtable { base: GDT_BASE, limit: gdt_limit, ..kvm_dtable::default() },
            idt: kvm_dtable::default(),
            cr0: CR0_PE | CR0_NE | CR0_WP | CR0_PG,
            cr3: PAGE_TABLES_BASE,
            cr4: CR4_PAE | CR4_OSFXSR | CR4_OSXMMEXCPT,
            efer: EFER_LME | EFER_LMA | EFER_NXE,
            // There are no interrupts: the processor says so, too.
            apic_base: 0,
            ..before
        };
        self.processor.set_sregs(&sregs).map_err(errno)?;
        let regs = kvm_regs {
            rip: entry,
            rflags: RFLAGS_FIXED,
            rsp: mem_size - STACK_OFFSET,
            rdi: boot_info,
            ..kvm_regs::default()
        };
        self.processor.set_regs(&regs).map_err(errno)
    }

    /// The descriptor that runs the guest.
    pub(crate) fn processor(&self) -> &VcpuFd {
        &self.processor
    }

    /// Runs the guest to its end, and gives its exit status.
    pub(crate) fn run(&mut self, calls: &mut Calls<'_>) -> Result<i32, Refusal> {
        let fault = loop {
            match self.processor.run() {
                Ok(VcpuExit::IoOut(port, &[a, b, c, d])) => {
                    match calls.call(port, u32::from_le_bytes([a, b, c, d])) {
                        Ok(None) => {}
                        Ok(Some(status)) => return Ok(status),
                        Err(fault) => break fault,
                    }
                }
                Ok(VcpuExit::IoOut(port, _) | VcpuExit::IoIn(port, _)) => break Fault::Port(port),
                Ok(VcpuExit::MmioRead(address, _) | VcpuExit::MmioWrite(address, _)) => {
                    break Fault::Memory(address);
                }
                Ok(VcpuExit::Hlt) => break Fault::Halted,
                Ok(VcpuExit::Shutdown) => break Fault::Shutdown,
                Ok(VcpuExit::Intr) => {}
                Ok(VcpuExit::FailEntry(reason, _)) => break Fault::Kvm(reason),
                Ok(_) => break Fault::Kvm(self.processor.get_kvm_run().exit_reason.into()),
                Err(error) => match errno(error) {
                    Errno::INTR | Errno::AGAIN => {}
                    error => break Fault::Kvm(error.raw_os_error() as u64),
                },
            }
        };
        // A processor that has shut down has forgotten where it was.
        let knows = fault != Fault::Shutdown;
        let rip = self.processor.get_regs().ok().filter(|_| knows).map(|regs| regs.rip);
        Err(Refusal { fault, rip })
    }
}

/// Leaves what the guest may have of the host's processor: there are no interrupts, no second
/// processor, and none of KVM's own services.
fn restrict(cpuid: &mut CpuId) {
    const X2APIC: u32 = 1 << 21;
    const TSC_DEADLINE: u32 = 1 << 24;
    const HYPERVISOR: u32 = 1 << 31;
    // Its own number, and how many there are, are in the upper half.
    const FIRST_OF_ONE: u32 = 1 << 16;
    cpuid.retain(|entry| !matches!(entry.function, 0xb | 0x1f | 0x4000_0000..=0x4fff_ffff));
    for entry in cpuid.as_mut_slice() {
        if entry.function == 1 {
            entry.ecx = entry.ecx & !(X2APIC | TSC_DEADLINE) | HYPERVISOR;
            entry.ebx = entry.ebx & 0xffff | FIRST_OF_ONE;
        }
    }
}

fn errno(error: kvm_ioctls::Error) -> Errno {
    Errno::from_raw_os_error(error.errno())
}
