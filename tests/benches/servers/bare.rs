//! The floor: the same acceptor, the same server set-up, the same generated service and messages, one thread. What is
//! missing is the agent: nobody is asked who they are, nothing is written.
//!
//! Its first argument is a folder with credentials; the listener is its standard input.

mod listener;

use std::error::Error;
use std::path::Path;
use std::pin::Pin;

use mtls::{Acceptor, Credentials, Limits, OwnCertificate, PeerIdentity, Trust};
use proto::agent::v1::node_agent_server::{NodeAgent, NodeAgentServer};
use proto::agent::v1::stream_gpio_response::Outcome;
use proto::agent::v1::{
    CancelJobRequest, CommandRequest, CommandResponse, ExecuteStreamRequest, ExecuteStreamResponse, GetJobRequest,
    GpioRecord, GpioRequest, GpioResponse, HealthStatus, Job, ListJobsRequest, ListJobsResponse, LogEntry, LogFilter,
    ScanI2cRequest, ScanI2cResponse, StreamGpioResponse, StreamMetricsRequest, SystemMetrics, TransferI2cRequest,
    TransferI2cResponse, TransferSpiRequest, TransferSpiResponse, WatchGpioRequest,
};
use tokio_stream::{Empty, Stream, StreamExt};
use tonic::{Request, Response, Status, Streaming, async_trait};

fn main() -> Result<(), Box<dyn Error>> {
    let folder = std::env::args_os().nth(1).unwrap_or_default();
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    runtime.block_on(serve(Path::new(&folder)))
}

async fn serve(folder: &Path) -> Result<(), Box<dyn Error>> {
    let credentials = Credentials::load(folder)?;
    let leaf = credentials.chain.first().ok_or("the folder holds no certificate")?;
    let trust = Trust::new(&PeerIdentity::from_certificate(leaf)?.cluster, &credentials.roots)?;
    let acceptor = Acceptor::new(OwnCertificate::new(&credentials)?, trust, None, Limits::default())?;
    let routes = mtls::server().add_service(NodeAgentServer::new(Echo));
    mtls::serve(routes, acceptor, listener::inherited()?, std::future::pending()).await;
    Ok(())
}

/// Answers what it was told to do as if it had been done.
struct Echo;

fn echo(GpioRequest { pin, state, .. }: GpioRequest) -> GpioResponse {
    GpioResponse { success: true, pin, state, ..GpioResponse::default() }
}

#[async_trait]
impl NodeAgent for Echo {
    async fn control_gpio(&self, request: Request<GpioRequest>) -> Result<Response<GpioResponse>, Status> {
        Ok(Response::new(echo(request.into_inner())))
    }

    async fn get_system_metrics(&self, _: Request<()>) -> Result<Response<SystemMetrics>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    type StreamMetricsStream = Empty<Result<SystemMetrics, Status>>;

    async fn stream_metrics(
        &self,
        _: Request<StreamMetricsRequest>,
    ) -> Result<Response<Self::StreamMetricsStream>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn execute_command(&self, _: Request<CommandRequest>) -> Result<Response<CommandResponse>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    type ExecuteStreamStream = Empty<Result<ExecuteStreamResponse, Status>>;

    async fn execute_stream(
        &self,
        _: Request<Streaming<ExecuteStreamRequest>>,
    ) -> Result<Response<Self::ExecuteStreamStream>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn get_job(&self, _: Request<GetJobRequest>) -> Result<Response<Job>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn cancel_job(&self, _: Request<CancelJobRequest>) -> Result<Response<Job>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn list_jobs(&self, _: Request<ListJobsRequest>) -> Result<Response<ListJobsResponse>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    type WatchGPIOStream = Empty<Result<GpioRecord, Status>>;

    async fn watch_gpio(&self, _: Request<WatchGpioRequest>) -> Result<Response<Self::WatchGPIOStream>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    type StreamGPIOStream = Pin<Box<dyn Stream<Item = Result<StreamGpioResponse, Status>> + Send>>;

    async fn stream_gpio(
        &self,
        request: Request<Streaming<GpioRequest>>,
    ) -> Result<Response<Self::StreamGPIOStream>, Status> {
        let answers = request.into_inner().map(|request| {
            let outcome = Some(Outcome::Response(echo(request?)));
            Ok(StreamGpioResponse { outcome })
        });
        Ok(Response::new(Box::pin(answers)))
    }

    async fn scan_i2c(&self, _: Request<ScanI2cRequest>) -> Result<Response<ScanI2cResponse>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn transfer_i2c(&self, _: Request<TransferI2cRequest>) -> Result<Response<TransferI2cResponse>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn transfer_spi(&self, _: Request<TransferSpiRequest>) -> Result<Response<TransferSpiResponse>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    type StreamLogsStream = Empty<Result<LogEntry, Status>>;

    async fn stream_logs(&self, _: Request<LogFilter>) -> Result<Response<Self::StreamLogsStream>, Status> {
        Err(Status::unimplemented("only an echo"))
    }

    async fn health_check(&self, _: Request<()>) -> Result<Response<HealthStatus>, Status> {
        Err(Status::unimplemented("only an echo"))
    }
}
