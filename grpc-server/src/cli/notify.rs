//! Tells the service manager how it goes: systemd's protocol for a unit of `Type=notify`, which is one
//! datagram for each state on the socket named in `NOTIFY_SOCKET`.

use std::env;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};
use std::sync::Arc;
use std::time::Duration;
use tokio_util::task::AbortOnDropHandle;

/// The service manager that started this process, if one did.
#[derive(Clone, Default)]
pub(super) struct Manager(Option<Arc<(UnixDatagram, SocketAddr)>>);

impl Manager {
    pub(super) fn from_environment() -> Self {
        let open = || {
            let name = env::var_os("NOTIFY_SOCKET")?;
            let address = match name.as_bytes() {
                [b'@', name @ ..] => SocketAddr::from_abstract_name(name),
                _ => SocketAddr::from_pathname(&name),
            };
            let socket = UnixDatagram::unbound();
            let socket = address.and_then(|address| {
                let socket = socket?;
                socket.set_nonblocking(true)?;
                Ok((socket, address))
            });
            socket.map_err(|error| tracing::warn!(%error, "NOTIFY_SOCKET cannot be used")).ok()
        };
        Self(open().map(Arc::new))
    }

    /// Says a state, such as `READY=1`. Nobody listens where there is no manager.
    pub(super) fn tell(&self, state: &str) {
        if let Some((socket, address)) = self.0.as_deref()
            && let Err(error) = socket.send_to_addr(state.as_bytes(), address)
        {
            tracing::warn!(%error, state, "the service manager cannot be told");
        }
    }

    /// Tells the watchdog twice in its time that all is well, for as long as the value lives. It is a task
    /// like any other, so that it falls silent when tasks do not run any more.
    pub(super) fn watched(&self) -> Option<AbortOnDropHandle<()>> {
        let own = env::var("WATCHDOG_PID").map_or(true, |id| id == std::process::id().to_string());
        let limit = env::var("WATCHDOG_USEC").ok()?.parse().ok().filter(|limit| own && *limit > 0)?;
        let manager = self.clone();
        Some(AbortOnDropHandle::new(tokio::spawn(async move {
            let mut turns = tokio::time::interval(Duration::from_micros(limit) / 2);
            loop {
                turns.tick().await;
                manager.tell("WATCHDOG=1");
            }
        })))
    }
}
