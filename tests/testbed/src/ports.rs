//! Free loopback ports.

use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::time::SystemTime;

use crate::error::{Error, Result};
use crate::tools;

/// Below the ports that the kernel hands out by itself. One of those could be taken by anyone's outgoing connection
/// while the API server is down, even by a client that tries to connect to that very port.
const RANGE: std::ops::Range<u16> = 21_000..23_000;

/// A free port, kept from every other testbed of this machine until it is dropped.
#[derive(Debug)]
pub(crate) struct Port {
    number: u16,
    /// The lock goes with the process, so a killed one keeps no port.
    _lock: File,
}

impl Port {
    pub(crate) fn reserve() -> Result<Self> {
        let folder = tools::cache_root()?.join("ports");
        fs::create_dir_all(&folder).map_err(Error::file("create", &folder))?;
        let length = u32::from(RANGE.end - RANGE.start);
        // Parallel processes start looking at different places.
        let start =
            SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).map_or(0, |now| now.subsec_nanos())
                / 1000;
        for step in 0..length {
            let offset = u16::try_from((start + step) % length).unwrap_or_default();
            let number = RANGE.start + offset;
            let path = folder.join(number.to_string());
            let lock = File::create(&path).map_err(Error::file("create", &path))?;
            let free = lock.try_lock().is_ok() && TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
            if free {
                return Ok(Self { number, _lock: lock });
            }
        }
        Err(Error::NoFreePort)
    }

    pub(crate) fn number(&self) -> u16 {
        self.number
    }
}
