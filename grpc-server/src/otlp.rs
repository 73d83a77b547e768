//! Traces for a collector of OpenTelemetry.

use crate::server::LogConfig;
use amochats::{Error, ErrorKind, Result};
use amochats_runtime::TRACE;
use opentelemetry::trace::TracerProvider as _;
use opentelemetry_otlp::{OTEL_EXPORTER_OTLP_ENDPOINT, WithExportConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{SdkTracerProvider, SpanData, SpanExporter};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::{Layer, Registry};

/// How long a collector may take.
const PATIENCE: Duration = Duration::from_secs(3);

/// The traces of a process, in batches by a thread of their own. More than the collector takes are
/// dropped.
pub(crate) struct Traces(SdkTracerProvider);

impl Traces {
    /// Begins, where there is somewhere to send them. To be called where tokio runs.
    ///
    /// # Errors
    /// [`ErrorKind::ConfigInvalid`] for an address that is none. Whether anybody is there shows later.
    pub(crate) fn start(config: &LogConfig) -> Result<Option<Self>> {
        let environment = || std::env::var(OTEL_EXPORTER_OTLP_ENDPOINT).ok().filter(|at| !at.is_empty());
        let Some(endpoint) = config.otlp_endpoint.clone().or_else(environment) else { return Ok(None) };
        let invalid = |error| {
            Error::new(ErrorKind::ConfigInvalid, format!("log.otlp_endpoint: {error}"))
                .with_field("log.otlp_endpoint")
        };
        let exporter = opentelemetry_otlp::SpanExporter::builder().with_tonic();
        let exporter = exporter.with_endpoint(endpoint).with_timeout(PATIENCE).build().map_err(invalid)?;
        let provider = SdkTracerProvider::builder()
            .with_resource(Resource::builder().with_service_name("amochats").build())
            .with_batch_exporter(Quiet { exporter, failing: AtomicBool::new(false) })
            .build();
        Ok(Some(Self(provider)))
    }

    /// Takes the spans that are meant for traces, and nothing of the log.
    pub(crate) fn layer(&self) -> Box<dyn Layer<Registry> + Send + Sync> {
        tracing_opentelemetry::layer()
            .with_tracer(self.0.tracer("amochats"))
            .with_location(false)
            .with_threads(false)
            .with_target(false)
            .with_tracked_inactivity(false)
            .with_filter(Targets::new().with_target(TRACE, LevelFilter::DEBUG))
            .boxed()
    }

    /// Sends what is left.
    pub(crate) async fn end(self) {
        // It waits for its thread.
        let ended = tokio::task::spawn_blocking(move || self.0.shutdown_with_timeout(PATIENCE)).await;
        if !matches!(ended, Ok(Ok(()))) {
            tracing::warn!("the last traces could not be sent");
        }
    }
}

/// Says once that the collector does not take the traces, and once that it does again.
#[derive(Debug)]
struct Quiet {
    exporter: opentelemetry_otlp::SpanExporter,
    failing: AtomicBool,
}

impl SpanExporter for Quiet {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let exported = self.exporter.export(batch).await;
        match (&exported, self.failing.swap(exported.is_err(), Ordering::Relaxed)) {
            // Its words may be anything; they are not repeated.
            (Err(_), false) => {
                tracing::warn!(
                    "the collector does not take traces; see log.otlp_endpoint. Nothing else suffers"
                );
            }
            (Ok(()), true) => tracing::info!("the collector takes traces again"),
            _ => {}
        }
        exported
    }

    fn shutdown_with_timeout(&self, timeout: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(timeout)
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.exporter.force_flush()
    }

    fn set_resource(&mut self, resource: &Resource) {
        self.exporter.set_resource(resource);
    }
}
