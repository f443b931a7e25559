//! The gRPC server: both services, health and reflection, on one address.

use std::net::SocketAddr;
use std::time::Duration;

use futures::future::BoxFuture;
use futures::{FutureExt, Stream};
use limbic_proto::wire::control_server::ControlServer;
use limbic_proto::wire::workers_server::WorkersServer;
use limbic_proto::wire::{DESCRIPTORS, LARGEST_MESSAGE};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpListener;
use tonic::transport::Server;
use tonic::transport::server::{Connected, TcpIncoming};

use crate::coordinator::Handle;
use crate::failure::Failure;
use crate::service::{ControlService, WorkersService};

/// How long a connection may be silent before the other side is asked whether it is still there.
const KEEPALIVE: Duration = Duration::from_secs(20);

/// Binds an address; anything but loopback needs `insecure`, because nothing is authenticated or encrypted yet.
///
/// # Errors
/// Not loopback without `insecure`, or the port is taken.
pub async fn bind(address: SocketAddr, insecure: bool) -> Result<TcpListener, Failure> {
    if !address.ip().is_loopback() && !insecure {
        return Err(Failure::user(format_args!(
            "--listen {address}: anyone who reaches this address could submit work, for connections are not authenticated; listen on 127.0.0.1, or say --insecure on a network you trust"
        )));
    }
    TcpListener::bind(address).await.map_err(|e| match e.kind() {
        std::io::ErrorKind::AddrInUse => Failure::user(format_args!(
            "--listen {address}: the port is taken: stop what listens there, or choose another port (0 = any free one)"
        )),
        _ => Failure::user(format_args!("--listen {address}: can't listen: {e}")),
    })
}

/// Serves until `stop` resolves. Boxed, as [`crate::sweep::prepare`] is.
///
/// # Errors
/// The transport fails.
pub fn serve(listener: TcpListener, coordinator: Handle, stop: BoxFuture<'static, ()>) -> BoxFuture<'static, Result<(), Failure>> {
    // The server's own TCP settings count for nothing where the listener is given. Without `nodelay` an answer may wait for
    // the other side's delayed acknowledgement, about 40 ms.
    let incoming = TcpIncoming::from(listener).with_nodelay(Some(true)).with_keepalive(Some(KEEPALIVE));
    serve_on(incoming, coordinator, stop).boxed()
}

/// Serves on any connections until `stop` resolves: real ones, or those of a simulated network.
///
/// # Errors
/// The transport fails.
pub async fn serve_on<C>(
    incoming: impl Stream<Item = std::io::Result<C>>,
    coordinator: Handle,
    stop: impl Future<Output = ()>,
) -> Result<(), Failure>
where
    C: AsyncRead + AsyncWrite + Connected + Unpin + Send + 'static,
{
    let (health, health_service) = tonic_health::server::health_reporter();
    health.set_serving::<WorkersServer<WorkersService>>().await;
    health.set_serving::<ControlServer<ControlService>>().await;
    let reflection = tonic_reflection::server::Builder::configure()
        .register_encoded_file_descriptor_set(DESCRIPTORS)
        .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
        .build_v1()
        .expect("our descriptors are well formed");
    Server::builder()
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(Duration::from_secs(10)))
        .add_service(health_service)
        .add_service(reflection)
        .add_service(WorkersServer::new(WorkersService::new(coordinator.clone())).max_decoding_message_size(LARGEST_MESSAGE))
        .add_service(ControlServer::new(ControlService::new(coordinator)).max_decoding_message_size(LARGEST_MESSAGE))
        .serve_with_incoming_shutdown(incoming, stop)
        .await
        .map_err(|e| Failure::again(format_args!("the server stopped: {e}")))
}
