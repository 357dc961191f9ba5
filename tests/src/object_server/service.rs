//! S3's operations on [`Buckets`], as `s3s` wants them.

use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures::TryStreamExt;
use s3s::dto::*;
use s3s::{S3, S3Request, S3Response, S3Result, s3_error};

use super::Shared;
use super::buckets::{Condition, Meta, Refusal};

impl From<Refusal> for s3s::S3Error {
    fn from(refusal: Refusal) -> Self {
        match refusal {
            Refusal::NoBucket => s3_error!(NoSuchBucket),
            Refusal::NoObject => s3_error!(NoSuchKey),
            Refusal::NoUpload => s3_error!(NoSuchUpload),
            Refusal::Condition => s3_error!(PreconditionFailed),
            Refusal::Name => s3_error!(InvalidArgument, "the key leads out of the bucket"),
            Refusal::Disk(error) => s3_error!(InternalError, "{error}"),
        }
    }
}

fn condition(if_match: Option<ETagCondition>, if_none_match: Option<ETagCondition>) -> S3Result<Condition> {
    match (if_match, if_none_match) {
        (None, None) => Ok(Condition::None),
        (None, Some(ETagCondition::Any)) => Ok(Condition::Absent),
        (Some(ETagCondition::ETag(tag)), None) => Ok(Condition::Matches(tag.into_value())),
        _ => Err(s3_error!(NotImplemented)),
    }
}

async fn whole(body: Option<StreamingBlob>) -> S3Result<Bytes> {
    let body = body.ok_or_else(|| s3_error!(IncompleteBody))?;
    let whole = body.try_fold(BytesMut::new(), |mut whole, chunk| async move {
        whole.extend_from_slice(&chunk);
        Ok(whole)
    });
    whole.await.map(BytesMut::freeze).map_err(|_| s3_error!(IncompleteBody))
}

fn tag(e_tag: String) -> Option<ETag> {
    Some(ETag::Strong(e_tag))
}

/// What the index of a listing shows of an object.
fn object((key, meta): (String, Meta)) -> Object {
    Object {
        key: Some(key),
        size: Some(meta.size as i64),
        e_tag: tag(meta.e_tag),
        last_modified: Some(meta.modified.into()),
        ..Object::default()
    }
}

#[async_trait::async_trait]
impl S3 for Shared {
    async fn create_bucket(&self, req: S3Request<CreateBucketInput>) -> S3Result<S3Response<CreateBucketOutput>> {
        self.buckets.create_bucket(&req.input.bucket)?;
        Ok(S3Response::new(CreateBucketOutput::default()))
    }

    async fn head_bucket(&self, req: S3Request<HeadBucketInput>) -> S3Result<S3Response<HeadBucketOutput>> {
        if !self.buckets.has_bucket(&req.input.bucket) {
            return Err(s3_error!(NoSuchBucket));
        }
        Ok(S3Response::new(HeadBucketOutput::default()))
    }

    async fn put_object(&self, req: S3Request<PutObjectInput>) -> S3Result<S3Response<PutObjectOutput>> {
        let input = req.input;
        let condition = condition(input.if_match, input.if_none_match)?;
        let body = whole(input.body).await?;
        let meta = self.buckets.put(&input.bucket, &input.key, &body, &condition)?;
        Ok(S3Response::new(PutObjectOutput { e_tag: tag(meta.e_tag), ..PutObjectOutput::default() }))
    }

    async fn get_object(&self, req: S3Request<GetObjectInput>) -> S3Result<S3Response<GetObjectOutput>> {
        let input = req.input;
        let (body, meta) = self.buckets.get(&input.bucket, &input.key)?;
        if let Some(ETagCondition::ETag(wanted)) = &input.if_match
            && wanted.as_strong() != Some(&meta.e_tag)
        {
            return Err(s3_error!(PreconditionFailed));
        }
        let range = input.range.map(|range| range.check(meta.size)).transpose()?;
        let content_range =
            range.as_ref().map(|range| format!("bytes {}-{}/{}", range.start, range.end - 1, meta.size));
        let body = range.map_or(body.clone(), |range| body.slice(range.start as usize..range.end as usize));
        Ok(S3Response::new(GetObjectOutput {
            content_length: Some(body.len() as i64),
            content_range,
            body: Some(StreamingBlob::from(s3s::Body::from(body))),
            e_tag: tag(meta.e_tag),
            last_modified: Some(meta.modified.into()),
            ..GetObjectOutput::default()
        }))
    }

    async fn head_object(&self, req: S3Request<HeadObjectInput>) -> S3Result<S3Response<HeadObjectOutput>> {
        let meta = self.buckets.head(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(HeadObjectOutput {
            content_length: Some(meta.size as i64),
            e_tag: tag(meta.e_tag),
            last_modified: Some(meta.modified.into()),
            ..HeadObjectOutput::default()
        }))
    }

    async fn delete_object(&self, req: S3Request<DeleteObjectInput>) -> S3Result<S3Response<DeleteObjectOutput>> {
        self.buckets.delete(&req.input.bucket, &req.input.key)?;
        Ok(S3Response::new(DeleteObjectOutput::default()))
    }

    async fn delete_objects(&self, req: S3Request<DeleteObjectsInput>) -> S3Result<S3Response<DeleteObjectsOutput>> {
        let mut deleted = Vec::new();
        for object in req.input.delete.objects {
            self.buckets.delete(&req.input.bucket, &object.key)?;
            deleted.push(DeletedObject { key: Some(object.key), ..DeletedObject::default() });
        }
        Ok(S3Response::new(DeleteObjectsOutput { deleted: Some(deleted), ..DeleteObjectsOutput::default() }))
    }

    async fn list_objects_v2(&self, req: S3Request<ListObjectsV2Input>) -> S3Result<S3Response<ListObjectsV2Output>> {
        let input = req.input;
        if input.delimiter.is_some() {
            return Err(s3_error!(NotImplemented, "listings have no folders here"));
        }
        let after = input.continuation_token.as_deref().or(input.start_after.as_deref()).unwrap_or("");
        let prefix = input.prefix.as_deref().unwrap_or("");
        // Pages of one listing are of one age, so a page is stale only where the listing begins.
        let age = if after.is_empty() { self.staleness() } else { Duration::ZERO };
        let mut found = self.buckets.list(&input.bucket, prefix, after, age)?;
        let page = input.max_keys.map_or(self.page_keys, |keys| (keys.max(1) as usize).min(self.page_keys));
        let is_truncated = found.len() > page;
        found.truncate(page);
        Ok(S3Response::new(ListObjectsV2Output {
            name: Some(input.bucket),
            prefix: input.prefix,
            max_keys: Some(page as i32),
            key_count: Some(found.len() as i32),
            is_truncated: Some(is_truncated),
            next_continuation_token: found.last().filter(|_| is_truncated).map(|(key, _)| key.clone()),
            continuation_token: input.continuation_token,
            contents: Some(found.into_iter().map(object).collect()),
            ..ListObjectsV2Output::default()
        }))
    }

    async fn create_multipart_upload(
        &self,
        req: S3Request<CreateMultipartUploadInput>,
    ) -> S3Result<S3Response<CreateMultipartUploadOutput>> {
        let CreateMultipartUploadInput { bucket, key, .. } = req.input;
        let upload_id = Some(self.buckets.begin_upload(&bucket, &key)?);
        let (bucket, key) = (Some(bucket), Some(key));
        let output = CreateMultipartUploadOutput { bucket, key, upload_id, ..CreateMultipartUploadOutput::default() };
        Ok(S3Response::new(output))
    }

    async fn upload_part(&self, req: S3Request<UploadPartInput>) -> S3Result<S3Response<UploadPartOutput>> {
        let input = req.input;
        let body = whole(input.body).await?;
        let e_tag = tag(self.buckets.put_part(&input.upload_id, input.part_number, body)?);
        Ok(S3Response::new(UploadPartOutput { e_tag, ..UploadPartOutput::default() }))
    }

    async fn complete_multipart_upload(
        &self,
        req: S3Request<CompleteMultipartUploadInput>,
    ) -> S3Result<S3Response<CompleteMultipartUploadOutput>> {
        let input = req.input;
        let condition = condition(input.if_match, input.if_none_match)?;
        let parts = input.multipart_upload.and_then(|upload| upload.parts).unwrap_or_default();
        let numbers: Vec<i32> = parts.iter().filter_map(|part| part.part_number).collect();
        let meta = self.buckets.complete_upload(&input.bucket, &input.key, &input.upload_id, &numbers, &condition)?;
        Ok(S3Response::new(CompleteMultipartUploadOutput {
            bucket: Some(input.bucket),
            key: Some(input.key),
            e_tag: tag(meta.e_tag),
            ..CompleteMultipartUploadOutput::default()
        }))
    }

    async fn abort_multipart_upload(
        &self,
        req: S3Request<AbortMultipartUploadInput>,
    ) -> S3Result<S3Response<AbortMultipartUploadOutput>> {
        self.buckets.abort_upload(&req.input.upload_id);
        Ok(S3Response::new(AbortMultipartUploadOutput::default()))
    }
}
