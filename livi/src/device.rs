//! Where livi computes, and how much memory there is for it.

use crate::Result;
use autograd::{Device, MOST_THREADS, Machine};

/// What a card's free memory is divided by for the part that plans leave alone: evaluation beside training, scratch memory, other programs.
const LEFT_ALONE: usize = 8;

/// This computer's processor, with all threads of the current rayon pool, as many of them as a device may have.
pub fn processor() -> Device {
    Device::Cpu { threads: rayon::current_num_threads().min(MOST_THREADS) }
}

/// Whether plans run beside this program, in memory of their own: on a card, or on its emulation.
pub fn is_card(device: Device) -> bool {
    !matches!(device, Device::Cpu { .. })
}

/// What evaluates a posterior that is trained on a device: that card, or all threads of the processor, however many training takes.
pub fn beside_training(device: Device) -> Device {
    if is_card(device) { device } else { processor() }
}

/// Bytes of memory that the system can give to programs at the moment; `None` where it does not say.
pub fn memory_available() -> Option<usize> {
    // Linux says so in lines such as `MemAvailable:   16303428 kB`.
    let text = std::fs::read_to_string("/proc/meminfo").ok()?;
    let line = text.lines().find_map(|line| line.strip_prefix("MemAvailable:"))?;
    line.trim().strip_suffix("kB")?.trim().parse::<usize>().ok()?.checked_mul(1024)
}

/// Refuses what needs more memory than the system has to give: so many elements of so many bytes.
pub(crate) fn require_memory(elements: Option<usize>, bytes: usize, advice: &'static str) -> Result<()> {
    let needed = elements.and_then(|elements| elements.checked_mul(bytes)).unwrap_or(usize::MAX);
    match memory_available().unwrap_or(isize::MAX as usize) {
        limit if needed > limit => Err(autograd::Error::Memory { needed, limit, advice }.into()),
        _ => Ok(()),
    }
}

/// Bytes that plans on a machine may take: as many as were asked for, else seven eighths of what is free on a card. `None` is as much as it takes,
/// where the system decides.
///
/// ```
/// use livi::device::{memory_limit, processor};
/// let machine = autograd::Machine::on(processor())?;
/// assert_eq!(memory_limit(&machine, Some(1000))?, Some(1000));
/// assert_eq!(memory_limit(&machine, None)?, None);
/// # Ok::<(), livi::Error>(())
/// ```
///
/// # Errors
/// [`autograd::Error::Device`] when a card does not answer.
pub fn memory_limit(machine: &Machine, asked: Option<usize>) -> Result<Option<usize>> {
    match asked {
        Some(_) => Ok(asked),
        None => Ok(machine.memory_free()?.map(|free| free - free / LEFT_ALONE)),
    }
}
