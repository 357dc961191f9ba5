//! Connections: HTTP, and what goes wrong with requests on their way.

use std::sync::atomic::Ordering;

use bytes::Bytes;
use futures::stream;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::{BodyExt, Full, StreamBody, combinators::UnsyncBoxBody};
use hyper::body::{Frame, Incoming};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use s3s::service::S3Service;
use tokio::net::TcpListener;

use super::faults::Fate;
use super::{Dialect, Shared, Write, gcs};

/// Ends a connection without an answer.
#[derive(Debug, thiserror::Error)]
#[error("the connection is cut")]
pub(super) struct Cut;

type Body = UnsyncBoxBody<Bytes, Cut>;

/// Serves connections until the runtime ends.
pub(super) async fn accept(listener: TcpListener, service: S3Service, shared: Shared) {
    loop {
        let Ok((stream, _)) = listener.accept().await else { continue };
        let (service, shared) = (service.clone(), shared.clone());
        let answer = service_fn(move |request| answer(request, service.clone(), shared.clone()));
        tokio::spawn(async move {
            // How a connection ends is the client's affair.
            _ = hyper::server::conn::http1::Builder::new().serve_connection(TokioIo::new(stream), answer).await;
        });
    }
}

async fn answer(request: Request<Incoming>, service: S3Service, shared: Shared) -> Result<Response<Body>, Cut> {
    shared.requests.fetch_add(1, Ordering::Relaxed);
    let writes = !matches!(*request.method(), Method::GET | Method::HEAD);
    let fate = shared.fates.fate(&shared.faults(), writes);
    if fate != Fate::Served {
        shared.failed.fetch_add(1, Ordering::Relaxed);
    }
    match fate {
        Fate::Served => serve(request, writes, service, &shared).await,
        Fate::Unavailable => refuse(request, StatusCode::SERVICE_UNAVAILABLE, "SlowDown").await,
        Fate::Conflict => refuse(request, StatusCode::CONFLICT, "ConditionalRequestConflict").await,
        Fate::Cut => Err(Cut),
        Fate::LostReply => {
            serve(request, writes, service, &shared).await?;
            Err(Cut)
        }
        Fate::TornReply => torn(serve(request, writes, service, &shared).await?).await,
        Fate::Delayed(delay) => {
            tokio::time::sleep(delay).await;
            serve(request, writes, service, &shared).await
        }
    }
}

/// Does what was asked for. The body is read first: a client that dies while it sends has not written anything.
async fn serve(
    request: Request<Incoming>,
    writes: bool,
    service: S3Service,
    shared: &Shared,
) -> Result<Response<Body>, Cut> {
    let (parts, body) = request.into_parts();
    let body = body.collect().await.map_err(|_| Cut)?.to_bytes();
    let watch = shared.watch().filter(|_| writes);
    let mut write = writes.then(|| Write {
        number: shared.writes.fetch_add(1, Ordering::Relaxed) + 1,
        method: parts.method.to_string(),
        path: parts.uri.path().to_owned(),
        is_done: false,
    });
    let tell = |write: &Option<Write>| {
        if let (Some(watch), Some(write)) = (&watch, write) {
            // It may take its time; other connections go on meanwhile.
            tokio::task::block_in_place(|| watch(write));
        }
    };
    tell(&write);
    let response = match shared.dialect {
        Dialect::S3 => {
            let response = service.call(Request::from_parts(parts, body.into())).await.map_err(|_| Cut)?;
            response.map(|body| body.map_err(|_| Cut).boxed_unsync())
        }
        Dialect::Gcs => {
            let response = gcs::answer(&parts, &body, shared);
            response.map(|body| Full::new(body).map_err(|never| match never {}).boxed_unsync())
        }
    };
    if let Some(write) = &mut write {
        write.is_done = true;
    }
    tell(&write);
    Ok(response)
}

async fn refuse(request: Request<Incoming>, status: StatusCode, code: &str) -> Result<Response<Body>, Cut> {
    request.into_body().collect().await.map_err(|_| Cut)?;
    let body = format!("<?xml version=\"1.0\" encoding=\"UTF-8\"?><Error><Code>{code}</Code></Error>");
    let body = Full::new(Bytes::from(body)).map_err(|never| match never {}).boxed_unsync();
    Response::builder().status(status).header(header::CONTENT_TYPE, "application/xml").body(body).map_err(|_| Cut)
}

/// Half of an answer; the whole connection where there is nothing to halve.
async fn torn(response: Response<Body>) -> Result<Response<Body>, Cut> {
    let (mut parts, body) = response.into_parts();
    let whole = body.collect().await?.to_bytes();
    if whole.len() < 2 {
        return Err(Cut);
    }
    parts.headers.insert(header::CONTENT_LENGTH, whole.len().into());
    let frames = [Ok(Frame::data(whole.slice(..whole.len() / 2))), Err(Cut)];
    Ok(Response::from_parts(parts, StreamBody::new(stream::iter(frames)).boxed_unsync()))
}
