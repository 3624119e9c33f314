//! Listening, on whatever families of addresses a machine has.

use std::io;
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};

use rustix::io::Errno;
use tokio::net::TcpListener;

/// Listens on `address`. `[::]` takes connections of both families; where the machine has no IPv6, `0.0.0.0` is listened
/// on instead.
///
/// # Errors
/// When the address cannot be listened on.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    match TcpListener::bind(address).await {
        Err(error) if address.ip() == Ipv6Addr::UNSPECIFIED && is_ipv6_unsupported(&error) => {
            TcpListener::bind((Ipv4Addr::UNSPECIFIED, address.port())).await
        }
        outcome => outcome,
    }
}

fn is_ipv6_unsupported(error: &io::Error) -> bool {
    [Errno::AFNOSUPPORT, Errno::ADDRNOTAVAIL].iter().any(|it| error.raw_os_error() == Some(it.raw_os_error()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use tokio::net::TcpStream;

    #[tokio::test]
    async fn one_listener_takes_connections_of_both_families() {
        let listener = bind(SocketAddr::from((Ipv6Addr::UNSPECIFIED, 0))).await.unwrap();
        let port = listener.local_addr().unwrap().port();
        TcpStream::connect((Ipv4Addr::LOCALHOST, port)).await.unwrap();
        if std::net::TcpListener::bind((Ipv6Addr::LOCALHOST, 0)).is_err() {
            return idissuer_testbed::skip("no IPv6 on this machine");
        }
        TcpStream::connect((Ipv6Addr::LOCALHOST, port)).await.unwrap();
    }

    #[test]
    fn a_machine_without_ipv6_differs_from_a_taken_port() {
        for (number, is_without) in [
            (Errno::AFNOSUPPORT, true),
            (Errno::ADDRNOTAVAIL, true),
            (Errno::ADDRINUSE, false),
            (Errno::ACCESS, false),
        ] {
            let error = io::Error::from_raw_os_error(number.raw_os_error());
            assert_eq!(is_ipv6_unsupported(&error), is_without, "{error}");
        }
    }
}
