//! Listening sockets: TCP addresses, and the TCP and Unix sockets that systemd passes.

use std::{
    fmt, io,
    net::{Ipv6Addr, SocketAddr},
};

use listenfd::ListenFd;
use socket2::{Domain, SockRef, Socket, Type};
#[cfg(not(unix))]
use tokio::net::TcpStream as UnixStream;
use tokio::net::{TcpListener, TcpStream, lookup_host};
#[cfg(unix)]
use tokio::net::{UnixListener, UnixStream};
use tokio_util::either::Either;

use super::auth::Peer;

const BACKLOG: i32 = 1024;

/// A connection of either kind.
pub(super) type Stream = Either<TcpStream, UnixStream>;

/// A listening socket.
#[derive(Debug)]
pub enum Listener {
    /// Clients have addresses.
    Tcp(TcpListener),
    /// Clients have no address. The socket's file limits who can connect.
    #[cfg(unix)]
    Unix(UnixListener),
}

impl From<TcpListener> for Listener {
    fn from(listener: TcpListener) -> Listener {
        Listener::Tcp(listener)
    }
}

/// The address, or `unix:` and the path.
impl fmt::Display for Listener {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Listener::Tcp(listener) => match listener.local_addr() {
                Ok(address) => write!(f, "{address}"),
                Err(error) => write!(f, "unknown ({error})"),
            },
            #[cfg(unix)]
            Listener::Unix(listener) => {
                let address = listener.local_addr().ok();
                match address.as_ref().and_then(|address| address.as_pathname()) {
                    Some(path) => write!(f, "unix:{}", path.display()),
                    None => f.write_str("unix"),
                }
            }
        }
    }
}

impl Listener {
    /// The address of a TCP socket.
    pub fn address(&self) -> Option<SocketAddr> {
        match self {
            Listener::Tcp(listener) => listener.local_addr().ok(),
            #[cfg(unix)]
            Listener::Unix(_) => None,
        }
    }

    pub(super) async fn accept(&self) -> io::Result<(Stream, ClientAddress)> {
        match self {
            Listener::Tcp(listener) => {
                let (stream, address) = listener.accept().await?;
                // Small responses are sent immediately. A socket that does not support this still works.
                if let Err(error) = stream.set_nodelay(true) {
                    tracing::debug!(%error, "cannot set TCP_NODELAY");
                }
                Ok((Either::Left(stream), ClientAddress(Some(address))))
            }
            #[cfg(unix)]
            Listener::Unix(listener) => {
                let (stream, _) = listener.accept().await?;
                Ok((Either::Right(stream), ClientAddress(None)))
            }
        }
    }
}

/// The address of a client; none on a Unix socket.
#[derive(Debug, Clone, Copy)]
pub(super) struct ClientAddress(Option<SocketAddr>);

impl fmt::Display for ClientAddress {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            Some(address) => write!(f, "{address}"),
            None => f.write_str("unix"),
        }
    }
}

impl From<ClientAddress> for Peer {
    fn from(address: ClientAddress) -> Peer {
        address.0.map_or(Peer::UNIX, |address| Peer::of(address.ip()))
    }
}

/// Listens on `host:port`, or on all IPv4 and IPv6 addresses without a host.
///
/// # Errors
///
/// When the address is in use, or is not an address of this machine.
pub async fn bind(host: Option<&str>, port: u16) -> io::Result<TcpListener> {
    if let Some(host) = host {
        let addresses: Vec<SocketAddr> = lookup_host((host, port)).await?.collect();
        return TcpListener::bind(&addresses[..]).await;
    }
    match dual_stack(port) {
        // The machine has no IPv6.
        Err(error) if error.kind() != io::ErrorKind::AddrInUse => {
            TcpListener::bind(("0.0.0.0", port)).await
        }
        bound => bound,
    }
}

/// An IPv6 socket that accepts IPv4, regardless of `net.ipv6.bindv6only`.
fn dual_stack(port: u16) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::IPV6, Type::STREAM, None)?;
    socket.set_only_v6(false)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&SocketAddr::from((Ipv6Addr::UNSPECIFIED, port)).into())?;
    socket.listen(BACKLOG)?;
    TcpListener::from_std(socket.into())
}

/// The sockets that systemd passes to the process.
///
/// # Errors
///
/// When one of them is not a listening stream socket: its name, the reason and the remedy.
pub fn passed() -> Result<Vec<Listener>, String> {
    // The names of the .socket units, unless FileDescriptorName= sets others.
    let names = std::env::var("LISTEN_FDNAMES").unwrap_or_default();
    let mut names = names.split(':');
    let mut sockets = ListenFd::from_env();
    let count = sockets.len();
    let take_next = |index| {
        let name = names.next().filter(|name| !name.is_empty()).unwrap_or("without a name");
        let listener = take(&mut sockets, index);
        listener.map_err(|error| format!("socket {} ({name}): {error}", index + 1))
    };
    (0..count).map(take_next).collect()
}

fn take(sockets: &mut ListenFd, index: usize) -> Result<Listener, String> {
    let error = match sockets.take_tcp_listener(index) {
        Ok(None) => return Err("is taken already".into()),
        Ok(Some(listener)) => {
            reject_connection(&SockRef::from(&listener))?;
            let listener =
                listener.set_nonblocking(true).and_then(|()| TcpListener::from_std(listener));
            return listener.map(Listener::Tcp).map_err(|error| error.to_string());
        }
        Err(error) => error,
    };
    #[cfg(unix)]
    let error = match sockets.take_unix_listener(index) {
        Ok(None) => error,
        Ok(Some(listener)) => {
            reject_connection(&SockRef::from(&listener))?;
            let listener =
                listener.set_nonblocking(true).and_then(|()| UnixListener::from_std(listener));
            return listener.map(Listener::Unix).map_err(|error| error.to_string());
        }
        Err(error) => error,
    };
    Err(format!("{error}; use ListenStream= with a port or a path"))
}

/// With `Accept=yes`, systemd passes connections.
fn reject_connection(socket: &SockRef<'_>) -> Result<(), String> {
    match socket.peer_addr() {
        Ok(_) => Err("is a connection, not a listening socket; use Accept=no".into()),
        Err(_) => Ok(()),
    }
}
