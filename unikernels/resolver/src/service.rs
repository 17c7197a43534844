//! Who asks what at the moment, and the tasks that find it out.

use alloc::rc::Rc;
use alloc::vec;
use alloc::vec::Vec;
use core::cell::RefCell;

use mnet::Datagram;
use mnet_resolve::{Query, ResolveError, Resolver, ResponseCode};

use crate::request::{Refusal, Request};

/// Clients that may wait for answers at the same time. Each holds the packet that it asked with, of
/// which there are 1,024.
const MAX_WAITING: usize = 256;
/// Of these, those that are at one address.
const MAX_OF_ONE: usize = 64;

/// The service: a resolver, and who waits for it.
pub(crate) struct Service {
    resolver: Resolver,
    questions: RefCell<Vec<Question>>,
}

/// A question that servers are being asked, for all who wait for it.
struct Question {
    query: Query,
    clients: Vec<(Request, Datagram)>,
}

impl Service {
    pub(crate) fn new(resolver: Resolver) -> Self {
        Self { resolver, questions: RefCell::default() }
    }

    /// Answers a datagram at once if that can be, or lets its sender wait.
    pub(crate) async fn take(self: Rc<Self>, datagram: Datagram) {
        let request = match Request::read(datagram.payload()) {
            Ok(request) => request,
            Err(Refusal::Silence) => return,
            Err(Refusal::Reply(message)) => return send(datagram, Some(message)).await,
        };
        if let Some(answer) = self.resolver.remembered(request.query()) {
            return send(datagram, request.answer(&Ok(answer))).await;
        }
        if self.is_full(&datagram) {
            return send(datagram, request.reply(ResponseCode::ServFail)).await;
        }
        let query = request.query().clone();
        let client = (request, datagram);
        let mut questions = self.questions.borrow_mut();
        if let Some(question) = questions.iter_mut().find(|question| question.query == query) {
            question.clients.push(client);
            return;
        }
        questions.push(Question { query: query.clone(), clients: vec![client] });
        drop(questions);
        // It ends by itself: the resolver does not wait for ever.
        mkernel::spawn(self.find_out(query));
    }

    async fn find_out(self: Rc<Self>, query: Query) {
        let answer = self.resolver.ask(&query).await;
        if let Err(error @ (ResolveError::NoServers | ResolveError::Bind(_))) = &answer {
            log::warn!("{}: {error}", query.name);
        }
        for (request, datagram) in self.waiting(&query) {
            send(datagram, request.answer(&answer)).await;
        }
    }

    /// Those who wait for the answer to a question, who wait no longer.
    fn waiting(&self, query: &Query) -> Vec<(Request, Datagram)> {
        let mut questions = self.questions.borrow_mut();
        let index = questions.iter().position(|question| question.query == *query);
        index.map_or_else(Vec::new, |index| questions.swap_remove(index).clients)
    }

    /// Whether nobody else may wait, or nobody else from the address that this is from.
    fn is_full(&self, datagram: &Datagram) -> bool {
        let questions = self.questions.borrow();
        let clients = questions.iter().flat_map(|question| &question.clients);
        let address = datagram.remote().ip();
        let (mut all, mut of_one) = (0, 0);
        for (_, client) in clients {
            all += 1;
            of_one += usize::from(client.remote().ip() == address);
        }
        all >= MAX_WAITING || of_one >= MAX_OF_ONE
    }
}

async fn send(datagram: Datagram, message: Option<Vec<u8>>) {
    let Some(message) = message else { return };
    let sent = datagram.reply_with(message.len(), |room| room.copy_from_slice(&message)).await;
    if let Err(error) = sent {
        log::debug!("{error}");
    }
}
