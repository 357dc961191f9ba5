//! The part of Google Cloud Storage's XML protocol that `object_store` speaks for whole objects, on the same
//! [`Buckets`](super::buckets::Buckets): conditional writes by generation, reads, deletions, listings in pages. No uploads in
//! parts, and nobody is asked who they are.

use std::collections::HashMap;
use std::time::Duration;

use bytes::Bytes;
use chrono::{DateTime, Utc};
use http::request::Parts;
use http::response::Builder;
use http::{Method, Response, StatusCode, header};
use object_store::path::Path;
use url::form_urlencoded;

use super::Shared;
use super::buckets::{Condition, Meta, Refusal};

/// Answers one request whose body is read.
pub(super) fn answer(parts: &Parts, body: &Bytes, shared: &Shared) -> Response<Bytes> {
    let answered = match Path::from_url_path(parts.uri.path()) {
        Ok(path) => match path.as_ref().split_once('/') {
            Some((bucket, key)) => of_object(parts, bucket, key, body, shared),
            None => list(parts, path.as_ref(), shared),
        },
        Err(_) => Err(Refusal::Name),
    };
    let response = answered.unwrap_or_else(|refusal| {
        let (status, code) = told(&refusal);
        (Response::builder().status(status), Bytes::from(format!("<Error><Code>{code}</Code></Error>")))
    });
    let (builder, body) = response;
    builder.body(body).unwrap_or_else(|_| Response::new(Bytes::new()))
}

type Answer = Result<(Builder, Bytes), Refusal>;

fn told(refusal: &Refusal) -> (StatusCode, &'static str) {
    match refusal {
        Refusal::NoBucket => (StatusCode::NOT_FOUND, "NoSuchBucket"),
        Refusal::NoObject | Refusal::NoUpload => (StatusCode::NOT_FOUND, "NoSuchKey"),
        Refusal::Condition => (StatusCode::PRECONDITION_FAILED, "PreconditionFailed"),
        Refusal::Name => (StatusCode::BAD_REQUEST, "InvalidArgument"),
        Refusal::Disk(_) => (StatusCode::INTERNAL_SERVER_ERROR, "InternalError"),
    }
}

fn of_object(parts: &Parts, bucket: &str, key: &str, body: &Bytes, shared: &Shared) -> Answer {
    let buckets = &shared.buckets;
    match parts.method {
        Method::PUT if parts.uri.query().is_none() => {
            // Generation 0 is that of an object that is not there.
            let condition = match parts.headers.get("x-goog-if-generation-match").map(|value| value.as_bytes()) {
                None => Condition::None,
                Some(b"0") => Condition::Absent,
                Some(_) => return Err(Refusal::Condition),
            };
            let meta = buckets.put(bucket, key, body, &condition)?;
            Ok((with_tag(Response::builder(), &meta), Bytes::new()))
        }
        Method::GET => {
            let (body, meta) = buckets.get(bucket, key)?;
            Ok((with_meta(&meta), body))
        }
        Method::HEAD => Ok((with_meta(&buckets.head(bucket, key)?), Bytes::new())),
        Method::DELETE => {
            buckets.delete(bucket, key)?;
            Ok((Response::builder().status(StatusCode::NO_CONTENT), Bytes::new()))
        }
        _ => Ok((Response::builder().status(StatusCode::NOT_IMPLEMENTED), Bytes::new())),
    }
}

fn with_tag(builder: Builder, meta: &Meta) -> Builder {
    builder.header(header::ETAG, format!("\"{}\"", meta.e_tag))
}

fn with_meta(meta: &Meta) -> Builder {
    let modified = DateTime::<Utc>::from(meta.modified).to_rfc2822();
    let builder = Response::builder().header(header::CONTENT_LENGTH, meta.size);
    with_tag(builder.header(header::LAST_MODIFIED, modified), meta)
}

/// A page of the objects of a bucket.
fn list(parts: &Parts, bucket: &str, shared: &Shared) -> Answer {
    let query: HashMap<_, _> = form_urlencoded::parse(parts.uri.query().unwrap_or_default().as_bytes()).collect();
    let asked = |name: &str| query.get(name).map_or("", |value| value.as_ref());
    let after = [asked("continuation-token"), asked("start-after")].into_iter().find(|name| !name.is_empty());
    let age = if after.is_none() { shared.staleness() } else { Duration::ZERO };
    let mut found = shared.buckets.list(bucket, asked("prefix"), after.unwrap_or_default(), age)?;
    let is_truncated = found.len() > shared.page_keys;
    found.truncate(shared.page_keys);
    let next = found.last().filter(|_| is_truncated).map(|(key, _)| key.clone());
    let objects = found.iter().map(|(key, meta)| {
        let modified = DateTime::<Utc>::from(meta.modified).to_rfc3339();
        let (key, size, tag) = (escaped(key), meta.size, &meta.e_tag);
        format!(
            "<Contents><Key>{key}</Key><Size>{size}</Size><LastModified>{modified}</LastModified><ETag>\"{tag}\"</ETag></Contents>"
        )
    });
    let objects: String = objects.collect();
    let next = next
        .map_or_else(String::new, |key| format!("<NextContinuationToken>{}</NextContinuationToken>", escaped(&key)));
    Ok((Response::builder(), format!("<ListBucketResult>{objects}{next}</ListBucketResult>").into()))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;")
}
