//! The configuration of a simulator.

use std::{
    fmt,
    net::{Ipv4Addr, SocketAddr},
};

use crate::{Personality, User};

/// Where it listens, whom it knows and what it is like. The default has one user, `demo@idissuer.pl` with the password
/// `demo`, only where none is added, and speaks plain http on free ports of 127.0.0.1.
#[derive(Clone, Debug)]
pub struct Config {
    /// The address of the API.
    pub listen: SocketAddr,
    /// The address of the control.
    pub control_listen: SocketAddr,
    /// Whether the API is served over https.
    pub tls: Tls,
    /// The users.
    pub users: Vec<User>,
    /// The personality.
    pub personality: Personality,
    /// The same seed makes the same tokens, latencies and faults. None: a new one each time.
    pub seed: Option<u64>,
}

impl Default for Config {
    fn default() -> Self {
        Self {
            listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            control_listen: SocketAddr::from((Ipv4Addr::LOCALHOST, 0)),
            tls: Tls::Off,
            users: Vec::new(),
            personality: Personality::default(),
            seed: None,
        }
    }
}

impl Config {
    /// Adds a user.
    #[must_use]
    pub fn user(mut self, user: User) -> Self {
        self.users.push(user);
        self
    }

    /// Changes the personality.
    #[must_use]
    pub fn personality(mut self, change: impl FnOnce(&mut Personality)) -> Self {
        change(&mut self.personality);
        self
    }

    /// Serves the API over https, or not.
    #[must_use]
    pub fn tls(self, tls: Tls) -> Self {
        Self { tls, ..self }
    }

    /// Sets the seed.
    #[must_use]
    pub fn seed(self, seed: u64) -> Self {
        Self { seed: Some(seed), ..self }
    }
}

/// http or https.
#[derive(Clone, Default)]
pub enum Tls {
    /// http.
    #[default]
    Off,
    /// https with a certificate made at start, signed by an authority made at start (`Server::ca_pem`).
    Generated {
        /// The host names and addresses in it: one that does not match makes it a bad one.
        names: Vec<String>,
    },
    /// https with this certificate.
    Given {
        /// The chain in PEM, the server's own first.
        certificate: Vec<u8>,
        /// Its key in PEM.
        key: Vec<u8>,
    },
}

impl Tls {
    /// A certificate made at start for `localhost`, `127.0.0.1` and `::1`.
    #[must_use]
    pub fn localhost() -> Self {
        Self::Generated { names: ["localhost", "127.0.0.1", "::1"].map(str::to_owned).to_vec() }
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Off => formatter.write_str("Off"),
            Self::Generated { names } => formatter.debug_struct("Generated").field("names", names).finish(),
            Self::Given { .. } => formatter.debug_struct("Given").finish_non_exhaustive(),
        }
    }
}
