//! What every Prometheus client shows of its process
//! (<https://prometheus.io/docs/instrumenting/writing_clientlibs/#process-metrics>), read from `/proc` at each scrape. What
//! cannot be read is absent.

use std::fmt;
use std::fs;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use rustix::param::{clock_ticks_per_second, page_size};

use crate::ops::descriptors;

/// Shows the process.
#[derive(Debug)]
pub(super) struct Process;

/// The numbers of `/proc/self/stat` (`proc_pid_stat(5)`).
#[derive(Debug, PartialEq)]
struct Statistics {
    /// Processor time, in clock ticks.
    ticks: u64,
    /// Resident memory, in pages.
    pages: u64,
}

impl Statistics {
    /// Reads the line. The second field, the name of the program, may contain blanks and brackets.
    fn parse(line: &str) -> Option<Self> {
        let (_, rest) = line.rsplit_once(')')?;
        // The first of these is the third field.
        let fields: Vec<&str> = rest.split_whitespace().collect();
        let number = |field: usize| fields.get(field - 3)?.parse::<u64>().ok();
        Some(Self { ticks: number(14)?.saturating_add(number(15)?), pages: number(24)? })
    }
}

impl Collector for Process {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        if let Some(statistics) =
            fs::read_to_string("/proc/self/stat").ok().and_then(|line| Statistics::parse(&line))
        {
            // Neither is larger than 2^53.
            #[expect(clippy::cast_precision_loss, reason = "it takes centuries to lose a tick")]
            let seconds = statistics.ticks as f64 / clock_ticks_per_second() as f64;
            let bytes = statistics.pages.saturating_mul(u64::try_from(page_size()).unwrap_or(4096));
            let name = "process_cpu_seconds";
            let help = "Processor time of the process in user and system mode";
            ConstCounter::new(seconds).encode(encoder.encode_descriptor(
                name,
                help,
                None,
                MetricType::Counter,
            )?)?;
            gauge(&mut encoder, "process_resident_memory_bytes", "Resident memory of the process", bytes)?;
        }
        if let Ok(entries) = fs::read_dir("/proc/self/fd") {
            // One of them is that of the directory.
            let open = entries.count().saturating_sub(1);
            gauge(&mut encoder, "process_open_fds", "Open file descriptors of the process", number(open))?;
        }
        let allowed = number(descriptors::allowed());
        gauge(&mut encoder, "process_max_fds", "File descriptors that the process may have", allowed)
    }
}

fn number(number: usize) -> u64 {
    u64::try_from(number).unwrap_or(u64::MAX)
}

fn gauge(encoder: &mut DescriptorEncoder<'_>, name: &str, help: &str, value: u64) -> Result<(), fmt::Error> {
    let value = i64::try_from(value).unwrap_or(i64::MAX);
    ConstGauge::new(value).encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_name_of_the_program_may_look_like_fields() {
        let fields = "S 1 2 3 4 5 6 7 8 9 10 70 30 13 14 20 0 5 0 99 1000000 256 18446744073709551615";
        let line = format!("42 (a (b) 7 8) {fields}");
        assert_eq!(Statistics::parse(&line), Some(Statistics { ticks: 100, pages: 256 }));
        assert_eq!(Statistics::parse("42 (a) S 1"), None);
    }
}
