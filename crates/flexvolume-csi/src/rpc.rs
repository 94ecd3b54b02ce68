//! One gRPC method: from HTTP to a message, and back.
//!
//! What a generator would write out for each service is a match over paths here; [`Endpoint`] is the rest.

use std::convert::Infallible;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Instant;

use prost::Message;
use tonic::body::Body;
use tonic::server::Grpc;
use tonic::{Code, Request, Response, Status};
use tonic_prost::ProstCodec;
use tower_service::Service;

/// No request of the specification comes near this.
const LARGEST_REQUEST: usize = 1 << 20;

/// The answer to a call, on its way.
pub(crate) type Answering = Pin<Box<dyn Future<Output = http::Response<Body>> + Send>>;

/// Is told how each call ended.
pub(crate) trait Observer: Send + Sync {
    /// A call of `method` ended with `code`.
    fn ended(&self, method: &str, status: &Result<(), Status>, begun: Instant);
}

/// What is served at a socket: the methods by their paths.
pub(crate) trait Routes: Observer + 'static {
    /// Answers a call, or gives it back if there is no such method.
    fn route(self: Arc<Self>, path: &str, call: Call) -> Result<Answering, Call>;
}

/// A call that has not been read yet.
pub(crate) struct Call(Box<Unread>);

struct Unread {
    request: http::Request<Body>,
    observer: Arc<dyn Observer>,
}

impl Call {
    /// Reads the request, has it answered and writes the answer.
    pub(crate) fn answer<Q, A, F, R>(self, method: F) -> Answering
    where
        Q: Message + Default + 'static,
        A: Message + Default + 'static,
        F: FnOnce(Q) -> R + Send + 'static,
        R: Future<Output = Result<A, Status>> + Send + 'static,
    {
        let Unread { request, observer } = *self.0;
        let name = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
        Box::pin(async move {
            let begun = Instant::now();
            let handler = Handler { method: Some(method), observed: Some((observer, name, begun)) };
            let codec = ProstCodec::<A, Q>::default();
            let mut grpc = Grpc::new(codec).apply_max_message_size_config(Some(LARGEST_REQUEST), None);
            grpc.unary(handler, request).await
        })
    }
}

struct Handler<F> {
    method: Option<F>,
    observed: Option<(Arc<dyn Observer>, String, Instant)>,
}

impl<Q, A, F, R> Service<Request<Q>> for Handler<F>
where
    Q: Send + 'static,
    A: 'static,
    F: FnOnce(Q) -> R + Send + 'static,
    R: Future<Output = Result<A, Status>> + Send + 'static,
{
    type Response = Response<A>;
    type Error = Status;
    type Future = Pin<Box<dyn Future<Output = Result<Response<A>, Status>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Status>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Q>) -> Self::Future {
        let (method, observed) = (self.method.take(), self.observed.take());
        Box::pin(async move {
            let Some(method) = method else { return Err(Status::internal("a call is answered once")) };
            let answered = method(request.into_inner()).await;
            if let Some((observer, name, begun)) = observed {
                observer.ended(&name, &answered.as_ref().map(|_| ()).map_err(Clone::clone), begun);
            }
            answered.map(Response::new)
        })
    }
}

/// [`Routes`] as a service for the server.
pub(crate) struct Endpoint<R>(pub(crate) Arc<R>);

impl<R> Clone for Endpoint<R> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<R: Routes> Service<http::Request<Body>> for Endpoint<R> {
    type Response = http::Response<Body>;
    type Error = Infallible;
    type Future = Pin<Box<dyn Future<Output = Result<http::Response<Body>, Infallible>> + Send>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), Infallible>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: http::Request<Body>) -> Self::Future {
        let path = request.uri().path().to_owned();
        let observer: Arc<dyn Observer> = Arc::clone(&self.0) as Arc<dyn Observer>;
        let routed = Arc::clone(&self.0).route(&path, Call(Box::new(Unread { request, observer })));
        Box::pin(async move {
            Ok(match routed {
                Ok(answering) => answering.await,
                Err(_) => Status::new(Code::Unimplemented, "no such method").into_http(),
            })
        })
    }
}
