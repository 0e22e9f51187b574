//! Listening sockets.

use std::{
    io,
    net::{Ipv6Addr, SocketAddr},
};

use socket2::{Domain, Socket, Type};
use tokio::net::{TcpListener, lookup_host};

const BACKLOG: i32 = 1024;

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

/// An IPv6 socket that accepts IPv4, whatever `net.ipv6.bindv6only` is.
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
/// When one of them is not a TCP socket.
pub fn passed() -> io::Result<Vec<TcpListener>> {
    let mut passed = listenfd::ListenFd::from_env();
    let mut listeners = Vec::new();
    for index in 0..passed.len() {
        if let Some(listener) = passed.take_tcp_listener(index)? {
            listener.set_nonblocking(true)?;
            listeners.push(TcpListener::from_std(listener)?);
        }
    }
    Ok(listeners)
}
