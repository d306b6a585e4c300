//! Who may do what on the bus, derived from the contract: the users of nats-server.
//!
//! A service may publish what it produces, read what it consumes, ask what it calls and answer what it serves; everything else is refused by the server. What NATS cannot express is said
//! where it is granted.

use std::collections::BTreeSet;

use crate::dead_letter::v1::DeadLetter;
use crate::subject::{covers, pattern};
use crate::{Addressed, Bucket, CATALOGUE, Entry, Kind, ObjectStore, Stream};

/// The user of people and of `muster streams apply`: everything is allowed.
pub const OPERATOR: &str = "operator";

/// The messages that are listed by their headers.
const DELIVERABLES: &str = "muster.deliverable.";
/// Who shows people how the streams are.
const SHOWS_STREAMS: &str = "gateway";

/// What follows the service in the name of the consumer by which it learns what the broker gave up.
pub const ADVISORIES: &str = "advisories";

/// What a user may publish and subscribe: patterns. A second word of a subscription is the queue group that it must be in.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Permissions {
    /// Subjects to publish on.
    pub publish: BTreeSet<String>,
    /// Subjects of others that fit a pattern of `publish`: not allowed.
    pub deny_publish: BTreeSet<String>,
    /// Subjects to subscribe to.
    pub subscribe: BTreeSet<String>,
    /// Subjects of others that fit a pattern of `subscribe`: not allowed.
    pub deny_subscribe: BTreeSet<String>,
}

/// What runs: of a planned message nobody has a permission yet.
fn entries() -> impl Iterator<Item = &'static Entry> {
    CATALOGUE.iter().filter(|entry| !entry.planned)
}

/// Every service that sends, reads, asks or answers something.
#[must_use]
pub fn services() -> BTreeSet<&'static str> {
    entries()
        .flat_map(|entry| entry.producers.iter().chain(entry.consumers))
        .copied()
        .filter(|name| *name != "*" && *name != OPERATOR)
        .collect()
}

/// Programs of others that answer some requests beside a service of the platform. What the contract grants to every service is not theirs.
#[must_use]
pub fn peers() -> BTreeSet<&'static str> {
    entries()
        .filter(|entry| entry.kind == Kind::Request)
        .flat_map(|entry| entry.consumers.iter().skip(1))
        .copied()
        .collect()
}

/// The streams that a service publishes to or reads; for a name that the contract does not know every one that anybody uses.
///
/// None for programs of others: streams are the platform's, and what those publish is refused where there are none yet.
#[must_use]
pub fn streams_of(service: &str) -> Vec<Stream> {
    if peers().contains(service) {
        return Vec::new();
    }
    let known = services().contains(service);
    let reads = |entry: &&Entry| !known || consumes(entry, service);
    let used = |stream: &Stream| match stream {
        // Whoever pulls may have to write a dead letter.
        Stream::Dlq => entries().filter(reads).any(is_pulled),
        _ => entries()
            .filter(|entry| entry.stream == Some(*stream))
            .any(|entry| reads(&entry) || produces(entry, service)),
    };
    Stream::ALL.iter().copied().filter(used).collect()
}

/// Whether a stream comes into being with its first message, and not when a service starts: where several streams share a message, a platform may never have any of it.
#[must_use]
pub fn on_demand(stream: Stream) -> bool {
    let shared = |message: &str| {
        let mut streams = CATALOGUE.iter().filter(|entry| entry.message == message);
        streams.any(|entry| entry.stream.is_some_and(|other| other != stream))
    };
    let mut of_stream = CATALOGUE.iter().filter(|entry| entry.stream == Some(stream)).peekable();
    of_stream.peek().is_some() && of_stream.all(|entry| shared(entry.message))
}

/// The buckets that a service reads or writes; every bucket for a name that the contract does not know.
#[must_use]
pub fn buckets_of(service: &str) -> Vec<Bucket> {
    let used = |bucket: &Bucket| {
        let settings = bucket.settings();
        !services().contains(service)
            || names(settings.readers, service)
            || names(settings.writers, service)
    };
    Bucket::ALL.iter().copied().filter(used).collect()
}

/// The object stores that a service reads or writes; every one for a name that the contract does not know.
#[must_use]
pub fn stores_of(service: &str) -> Vec<ObjectStore> {
    let used = |store: &ObjectStore| {
        let settings = store.settings();
        !services().contains(service)
            || names(settings.readers, service)
            || names(settings.writers, service)
    };
    ObjectStore::ALL.iter().copied().filter(used).collect()
}

/// What the keys of a service begin with: in a bucket of several writers each has its own space, which no other can write.
#[must_use]
pub fn key_prefix(bucket: Bucket, service: &str) -> String {
    match bucket.settings().writers {
        ["*"] | [_, _, ..] => format!("{service}."),
        _ => String::new(),
    }
}

/// The name of the durable consumer by which a service gets a message of the contract.
#[must_use]
pub fn consumer_name(service: &str, message: &str) -> String {
    format!("{service}-{}", consumer_suffix(message))
}

/// What follows the service in the name of its consumer of a message. A second version has another name: a service may read both.
#[must_use]
pub fn consumer_suffix(message: &str) -> String {
    let mut parts = message.rsplit('.');
    let name = kebab(parts.next().unwrap_or(message));
    match parts.next() {
        None | Some("v1") => name,
        Some(version) => format!("{name}-{version}"),
    }
}

/// The name of the durable consumer by which a service gets everything that it reads of a stream.
#[must_use]
pub fn feed_name(service: &str) -> String {
    format!("{service}-log")
}

/// The group in which all that answer a request as this service share it.
#[must_use]
pub fn queue_group(service: &str) -> String {
    if peers().contains(service) { format!("{service}s") } else { service.to_owned() }
}

/// The first token of a service's inboxes: nobody else may listen there.
#[must_use]
pub fn inbox_prefix(service: &str) -> String {
    format!("_INBOX_{service}")
}

/// The environment variable that holds a user's password: `NATS_PASSWORD_EXECUTION_LOG`.
#[must_use]
pub fn password_variable(user: &str) -> String {
    format!("NATS_PASSWORD_{}", user.to_ascii_uppercase().replace('-', "_"))
}

/// What a service may do.
#[must_use]
pub fn of(service: &str) -> Permissions {
    let mut granted = Permissions::default();
    granted.subscribe(format!("{}.>", inbox_prefix(service)));
    // Replicas ask each other what they handle.
    granted.publish(format!("{}.>", inbox_prefix(service)));
    for entry in entries() {
        granted.entry(entry, service);
    }
    for stream in streams_of(service) {
        granted.stream(stream.name());
        granted.feed(stream, service);
        if stream == Stream::Dlq {
            granted.advisories(service);
        }
    }
    for bucket in buckets_of(service) {
        granted.bucket(bucket, service);
    }
    for store in stores_of(service) {
        granted.object_store(store, service);
    }
    if service == SHOWS_STREAMS {
        granted.publish("$JS.API.STREAM.LIST");
    }
    granted.deny_what_is_of_others(service);
    granted
}

/// The users of nats-server, in its configuration format; `secret` says how a user shows who it is: `user: "agent", password: $NATS_PASSWORD_AGENT`, or `nkey: UA…`.
#[must_use]
pub fn users_conf(secret: impl Fn(&str) -> String) -> String {
    let mut text = format!("authorization {{\n  users: [\n    {{ {} }}\n", secret(OPERATOR));
    for service in services() {
        let granted = of(service);
        let list = |subjects: &BTreeSet<String>| {
            let lines: Vec<String> =
                subjects.iter().map(|subject| format!("            {subject:?}\n")).collect();
            if lines.is_empty() {
                "[]".to_owned()
            } else {
                format!("[\n{}          ]", lines.concat())
            }
        };
        text += &format!(
            "    {{\n      {}\n      permissions: {{\n        publish: {{\n          allow: {}\n          deny: {}\n        }}\n        subscribe: {{\n          allow: {}\n          deny: {}\n        }}\n      }}\n    }}\n",
            secret(service),
            list(&granted.publish),
            list(&granted.deny_publish),
            list(&granted.subscribe),
            list(&granted.deny_subscribe)
        );
    }
    text + "  ]\n}\n"
}

impl Permissions {
    fn publish(&mut self, subject: impl Into<String>) {
        self.publish.insert(subject.into());
    }

    fn subscribe(&mut self, subject: impl Into<String>) {
        self.subscribe.insert(subject.into());
    }

    fn entry(&mut self, entry: &Entry, service: &str) {
        if entry.kind == Kind::Request {
            return self.request(entry, service);
        }
        // Of dead letters everybody writes those of its own consumers only.
        if produces(entry, service) && entry.stream != Some(Stream::Dlq) {
            self.publish(pattern(entry.subject));
            if !entry.schedule.is_empty() {
                self.publish(pattern(entry.schedule));
            }
        }
        if consumes(entry, service) {
            self.consume(entry, service);
        }
    }

    /// `api.tasks.*` also fits `api.tasks.process`, which may be another's.
    fn deny_what_is_of_others(&mut self, service: &str) {
        let fits = |patterns: &BTreeSet<String>, subject: &str| {
            let mut patterns = patterns.iter().filter_map(|pattern| pattern.split(' ').next());
            patterns.any(|pattern| covers(pattern, subject))
        };
        for entry in CATALOGUE {
            let subject = pattern(entry.subject);
            if fits(&self.publish, &subject) && !self.publish.contains(&subject) {
                self.deny_publish.insert(subject.clone());
            }
            let group = format!("{subject} {}", queue_group(service));
            let own = self.subscribe.contains(&subject) || self.subscribe.contains(&group);
            if fits(&self.subscribe, &subject) && !own {
                self.deny_subscribe.insert(subject);
            }
        }
    }

    fn request(&mut self, entry: &Entry, service: &str) {
        if produces(entry, service) {
            self.publish(pattern(entry.subject));
            if entry.message == "muster.dead_letter.v1.ReplayRequest" {
                self.letters();
            }
        }
        if consumes(entry, service) {
            // Where the subject names the service, each answers for itself only.
            let subject = pattern(&entry.subject.replace("{service}", service));
            self.subscribe(format!("{subject} {}", queue_group(service)));
            self.serve(service);
            // Replies go to the inboxes of those who may ask, which costs nothing at runtime; `allow_responses` keeps a record of every request.
            for caller in entry.producers {
                self.publish(format!("{}.>", inbox_prefix(caller)));
            }
        }
    }

    /// The NATS Services API: who is there, and how it does. Only an operator may ask, with whatever inbox its tool has.
    fn serve(&mut self, service: &str) {
        for verb in ["PING", "INFO", "STATS"] {
            self.subscribe(format!("$SRV.{verb}"));
            self.subscribe(format!("$SRV.{verb}.{service}"));
            self.subscribe(format!("$SRV.{verb}.{service}.*"));
        }
        self.publish("_INBOX.>");
        self.publish(format!("{}.>", inbox_prefix(OPERATOR)));
    }

    fn consume(&mut self, entry: &Entry, service: &str) {
        let subject = pattern(entry.subject);
        if entry.kind != Kind::Command {
            self.subscribe(subject.clone());
        }
        let Some(stream) = entry.stream else { return };
        if peers().contains(service) {
            return self.peer(entry, stream, service);
        }
        let name = stream.name();
        if stream.settings().followers.contains(&service) {
            // One message, where it breaks the connection of whoever receives it.
            self.publish(format!("$JS.API.STREAM.MSG.GET.{name}"));
            return self.follow(name);
        }
        if is_pulled(entry) {
            let consumer = consumer_name(service, entry.message);
            let same =
                |other: &&Entry| other.message == entry.message && other.stream == entry.stream;
            // The server compares the filter in the subject with that in the request.
            let single = entries().filter(same).count() == 1;
            let filter = if single { format!(".{subject}") } else { String::new() };
            self.publish(format!("$JS.API.CONSUMER.CREATE.{name}.{consumer}{filter}"));
            self.bury(name, &consumer, &filter);
            self.pull(name, &consumer);
        }
        if !is_pulled(entry) || entry.subject.contains('{') {
            // Reading by address: the server knows no permission for a part of a stream.
            self.publish(format!("$JS.API.STREAM.MSG.GET.{name}"));
        }
        if entry.kind == Kind::Journal {
            // The same, many messages at once.
            self.publish(format!("$JS.API.DIRECT.GET.{name}"));
        }
        let feeds = stream.settings().feeds.contains(&service);
        // Of deliverables mostly the headers are read, those of many at once.
        let listed = entry.message.starts_with(DELIVERABLES);
        if listed || (!is_pulled(entry) && !produces(entry, service) && !feeds) {
            self.follow(name);
        }
    }

    /// Programs of others hear what is published: a durable consumer would have one name for all of them. A command goes to one of those that listen for it.
    fn peer(&mut self, entry: &Entry, stream: Stream, service: &str) {
        if entry.kind == Kind::Command {
            self.subscribe(format!("{} {}", pattern(entry.subject), queue_group(service)));
        }
        if entry.message.starts_with(DELIVERABLES) {
            self.publish(format!("$JS.API.STREAM.MSG.GET.{}", stream.name()));
            self.follow(stream.name());
        }
    }

    /// The server knows a consumer of several subjects by its name only.
    fn feed(&mut self, stream: Stream, service: &str) {
        if stream.settings().feeds.contains(&service) {
            let (name, consumer) = (stream.name(), feed_name(service));
            self.publish(format!("$JS.API.CONSUMER.CREATE.{name}.{consumer}"));
            self.pull(name, &consumer);
            self.bury(name, &consumer, "");
        }
    }

    /// What a durable pull consumer needs.
    fn pull(&mut self, stream: &str, consumer: &str) {
        self.publish(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        self.publish(format!("$JS.API.CONSUMER.INFO.{stream}.{consumer}"));
        self.publish(format!("$JS.ACK.{stream}.{consumer}.>"));
        self.publish(letters(stream, consumer));
        self.publish(format!("$KV.{}.{consumer}.>", Bucket::Idempotency.name()));
    }

    /// What the dead letters of a consumer need: each letter, and a message that the broker gave up, is fetched by a consumer that can read nothing else.
    fn bury(&mut self, stream: &str, consumer: &str, filter: &str) {
        let filter_of_letters = format!(".{}", letters(stream, consumer));
        self.fetch(Stream::Dlq.name(), &format!("{consumer}-letter"), &filter_of_letters);
        self.fetch(stream, &format!("{consumer}-lost"), filter);
    }

    /// Reading one message by its sequence.
    fn fetch(&mut self, stream: &str, consumer: &str, filter: &str) {
        self.publish(format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}{filter}"));
        self.publish(format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}"));
        self.publish(format!("$JS.API.CONSUMER.DELETE.{stream}.{consumer}"));
    }

    /// What the broker gave up.
    fn advisories(&mut self, service: &str) {
        let (stream, consumer) = (Stream::Dlq.name(), format!("{service}-{ADVISORIES}"));
        self.publish(format!("$JS.API.CONSUMER.CREATE.{stream}.{consumer}.$JS.EVENT.ADVISORY.CONSUMER.MAX_DELIVERIES.>"));
        self.pull(stream, &consumer);
    }

    /// Whoever may have dead letters replayed reads and removes them. The server knows no permission for a part of a stream.
    fn letters(&mut self) {
        let stream = Stream::Dlq.name();
        self.publish(format!("$JS.API.STREAM.MSG.GET.{stream}"));
        self.publish(format!("$JS.API.STREAM.MSG.DELETE.{stream}"));
        self.follow(stream);
    }

    /// Reading in order without a durable consumer. The server cannot limit the name or the subjects of such a consumer.
    fn follow(&mut self, stream: &str) {
        self.publish(format!("$JS.API.CONSUMER.CREATE.{stream}"));
        self.publish(format!("$JS.FC.{stream}.>"));
    }

    /// Creating a stream that is not there. Nobody but the operator changes or deletes one.
    fn stream(&mut self, name: &str) {
        self.publish(format!("$JS.API.STREAM.INFO.{name}"));
        self.publish(format!("$JS.API.STREAM.CREATE.{name}"));
    }

    /// A bucket is the stream `KV_…`. It has no durable consumers, so that those who watch it may make and remove theirs.
    fn bucket(&mut self, bucket: Bucket, service: &str) {
        let (settings, name) = (bucket.settings(), bucket.name());
        let stream = format!("KV_{name}");
        let keys = format!("$KV.{name}.{}>", key_prefix(bucket, service));
        self.stream(&stream);
        if names(settings.readers, service) {
            self.publish(format!("$JS.API.STREAM.MSG.GET.{stream}"));
            self.watch(&stream);
        }
        if names(settings.writers, service) {
            self.publish(keys);
        }
    }

    /// An object store is the stream `OBJ_…`: `M` are the names, `C` the pieces. Replacing and deleting an object purges its pieces.
    fn object_store(&mut self, store: ObjectStore, service: &str) {
        let (settings, name) = (store.settings(), store.name());
        let stream = format!("OBJ_{name}");
        self.stream(&stream);
        if names(settings.readers, service) || names(settings.writers, service) {
            self.publish(format!("$JS.API.DIRECT.GET.{stream}.$O.{name}.M.*"));
            self.publish(format!("$JS.API.STREAM.MSG.GET.{stream}"));
            self.watch(&stream);
        }
        if names(settings.writers, service) {
            self.publish(format!("$O.{name}.M.*"));
            self.publish(format!("$O.{name}.C.*"));
            // The body of a message is never replaced, so nobody needs to purge those of others.
            if store != ObjectStore::Claims {
                self.publish(format!("$JS.API.STREAM.PURGE.{stream}"));
            }
        }
    }

    /// Reading a stream that has no durable consumers.
    fn watch(&mut self, stream: &str) {
        self.follow(stream);
        self.publish(format!("$JS.API.CONSUMER.INFO.{stream}.*"));
        self.publish(format!("$JS.API.CONSUMER.DELETE.{stream}.*"));
    }
}

/// Events and commands are pulled by durable consumers; journals and tokens are read by address, or followed.
fn is_pulled(entry: &Entry) -> bool {
    entry.stream.is_some() && matches!(entry.kind, Kind::Event | Kind::Command)
}

fn produces(entry: &Entry, service: &str) -> bool {
    names(entry.producers, service)
}

fn consumes(entry: &Entry, service: &str) -> bool {
    names(entry.consumers, service)
}

fn names(services: &[&str], service: &str) -> bool {
    services.contains(&service) || (services.contains(&"*") && !peers().contains(service))
}

/// `StartExecution` is `start-execution`.
#[must_use]
pub fn kebab(name: &str) -> String {
    let mut text = String::new();
    for letter in name.chars() {
        if letter.is_ascii_uppercase() && !text.is_empty() {
            text.push('-');
        }
        text.push(letter.to_ascii_lowercase());
    }
    text
}

/// The subject of a consumer's dead letters.
fn letters(stream: &str, consumer: &str) -> String {
    DeadLetter::SUBJECT.replace("{stream}", stream).replace("{consumer}", consumer)
}
