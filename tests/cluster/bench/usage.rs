//! What a process has used, as the kernel counts it: processor time does not depend on what else the machine does.

use std::fs;

/// What a process has used of the processors so far, in seconds.
pub(super) fn processor_seconds(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    // The name of the program, which may contain spaces, is in parentheses. `utime` and `stime` are the fields 14 and 15.
    let (_, fields) = stat.rsplit_once(") ").unwrap();
    let ticks = fields.split(' ').skip(11).take(2).map(|field| field.parse::<u32>().unwrap()).sum::<u32>();
    let ticks_a_second = u32::try_from(rustix::param::clock_ticks_per_second()).unwrap();
    f64::from(ticks) / f64::from(ticks_a_second)
}

/// The memory of a process in MiB.
#[derive(Clone, Copy, Debug)]
pub(super) struct Memory {
    /// What is in memory of it, code included.
    pub(super) resident: f64,
    /// The most that was resident so far.
    pub(super) peak: f64,
    /// Heap and stacks.
    pub(super) heap: f64,
    /// What only it uses and has written.
    pub(super) private: f64,
}

impl Memory {
    pub(super) fn of(pid: u32) -> Self {
        let read = |file: &str| fs::read_to_string(format!("/proc/{pid}/{file}")).unwrap();
        let (status, rollup) = (read("status"), read("smaps_rollup"));
        Self {
            resident: mebibytes(&status, "VmRSS"),
            peak: mebibytes(&status, "VmHWM"),
            heap: mebibytes(&status, "RssAnon"),
            private: mebibytes(&rollup, "Private_Dirty"),
        }
    }
}

fn mebibytes(text: &str, name: &str) -> f64 {
    let line = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':')).unwrap();
    f64::from(line.split_whitespace().next().unwrap().parse::<u32>().unwrap()) / 1024.0
}
