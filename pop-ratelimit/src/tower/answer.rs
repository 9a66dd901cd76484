//! What goes back: the inner service's answer with the fields of the limit, or a denial.

use core::future::Future;
use core::pin::Pin;
use core::task::{Context, Poll, ready};

use ::http::header::{CONTENT_TYPE, RETRY_AFTER};
use ::http::{HeaderMap, HeaderValue, Response, StatusCode};
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use pin_project_lite::pin_project;

use crate::Decision;
use crate::http::{PROBLEM_JSON, RATELIMIT, RATELIMIT_POLICY, quota_exceeded, retry_after_seconds};

/// The answer to what is denied: a 429 with a problem, or what gRPC wants, with when to come again.
pub(super) fn denial<B>(
    request: &HeaderMap,
    policy: &str,
    decision: Decision,
    fields: Fields,
) -> Response<LimitBody<B>> {
    let grpc = request.get(CONTENT_TYPE).is_some_and(|have| have.as_bytes().starts_with(b"application/grpc"));
    let mut response = if grpc { grpc_denial() } else { http_denial(policy) };
    if let Some(wait) = decision.retry_after() {
        response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(retry_after_seconds(wait)));
    }
    fields.write(response.headers_mut());
    response
}

/// A trailers-only answer: gRPC has its status in a field, not in the HTTP status.
fn grpc_denial<B>() -> Response<LimitBody<B>> {
    let mut response = Response::new(LimitBody::denial(None));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    // RESOURCE_EXHAUSTED.
    headers.insert("grpc-status", HeaderValue::from_static("8"));
    headers.insert("grpc-message", HeaderValue::from_static("quota exceeded"));
    response
}

fn http_denial<B>(policy: &str) -> Response<LimitBody<B>> {
    let text = Bytes::from(quota_exceeded(policy));
    let mut response = Response::new(LimitBody::denial(Some(text)));
    *response.status_mut() = StatusCode::TOO_MANY_REQUESTS;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(PROBLEM_JSON));
    response
}

/// The fields that every answer bears.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) policy: Option<HeaderValue>,
    pub(super) standing: Option<HeaderValue>,
}

impl Fields {
    fn write(self, headers: &mut HeaderMap) {
        // Appended: a layer further in may have told of a policy of its own.
        for (name, value) in [(RATELIMIT_POLICY, self.policy), (RATELIMIT, self.standing)] {
            if let Some(value) = value {
                headers.append(name, value);
            }
        }
    }
}

pin_project! {
    /// The answer of a [`RateLimitService`](super::RateLimitService).
    #[derive(Debug)]
    pub struct ResponseFuture<F, R> {
        #[pin]
        answer: Answer<F, R>,
    }
}

pin_project! {
    #[project = AnswerProjection]
    #[derive(Debug)]
    enum Answer<F, R> {
        Passed { #[pin] future: F, fields: Option<Fields> },
        Denied { response: Option<Response<LimitBody<R>>> },
    }
}

impl<F, R> ResponseFuture<F, R> {
    pub(super) const fn passed(future: F, fields: Fields) -> Self {
        Self { answer: Answer::Passed { future, fields: Some(fields) } }
    }

    pub(super) const fn denied(response: Response<LimitBody<R>>) -> Self {
        Self { answer: Answer::Denied { response: Some(response) } }
    }
}

impl<F, R, E> Future for ResponseFuture<F, R>
where
    F: Future<Output = Result<Response<R>, E>>,
{
    type Output = Result<Response<LimitBody<R>>, E>;

    fn poll(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        match self.project().answer.project() {
            AnswerProjection::Passed { future, fields } => {
                let response = ready!(future.poll(context))?;
                let mut response = response.map(|inner| LimitBody { kind: BodyKind::Inner { inner } });
                if let Some(fields) = fields.take() {
                    fields.write(response.headers_mut());
                }
                Poll::Ready(Ok(response))
            }
            AnswerProjection::Denied { response } => match response.take() {
                Some(response) => Poll::Ready(Ok(response)),
                // Polled again after it was ready, which futures need not survive; this one just rests.
                None => Poll::Pending,
            },
        }
    }
}

pin_project! {
    /// The inner service's body, or the text of a denial.
    #[derive(Debug)]
    pub struct LimitBody<B> {
        #[pin]
        kind: BodyKind<B>,
    }
}

pin_project! {
    #[project = BodyProjection]
    #[derive(Debug)]
    enum BodyKind<B> {
        Inner { #[pin] inner: B },
        Denial { text: Option<Bytes> },
    }
}

impl<B> LimitBody<B> {
    const fn denial(text: Option<Bytes>) -> Self {
        Self { kind: BodyKind::Denial { text } }
    }
}

impl<B: Body<Data = Bytes>> Body for LimitBody<B> {
    type Data = Bytes;
    type Error = B::Error;

    fn poll_frame(
        self: Pin<&mut Self>,
        context: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Self::Data>, Self::Error>>> {
        match self.project().kind.project() {
            BodyProjection::Inner { inner } => inner.poll_frame(context),
            BodyProjection::Denial { text } => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.kind {
            BodyKind::Inner { inner } => inner.is_end_stream(),
            BodyKind::Denial { text } => text.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.kind {
            BodyKind::Inner { inner } => inner.size_hint(),
            BodyKind::Denial { text } => {
                SizeHint::with_exact(text.as_ref().map_or(0, |text| text.len() as u64))
            }
        }
    }
}
