//! Journals: one subject, appended only by who has read its end.

use async_nats::jetstream::message::StreamMessage;
use muster_contracts::{Durable, Fault};

use crate::glance::stream_of;
pub(crate) use crate::leader::unreadable;
use crate::publish::{Refused, subject_of};
use crate::{Bus, MessageId, damage};

/// One journal.
#[derive(Clone)]
pub struct Journal<J> {
    bus: Bus,
    subject: String,
    entry: std::marker::PhantomData<fn() -> J>,
}

/// An append that was refused.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// Somebody else appended, or this entry is there already: read again and decide again.
    #[error("the journal has moved on")]
    Conflict,
    /// Nothing can be said about the journal.
    #[error(transparent)]
    Fault(#[from] Fault),
}

impl Bus {
    /// The journal at the address that the fields of `address` make.
    ///
    /// ```no_run
    /// # use muster_bus::{AppendError, Bus, MessageId};
    /// # use muster_contracts::workflow::v1::JournalEntry;
    /// # async fn example(bus: Bus, entry: JournalEntry) -> Result<(), AppendError> {
    /// let journal = bus.journal(&entry)?;
    /// let last = journal.read().await?.last().map_or(0, |(sequence, _)| *sequence);
    /// journal.append(&entry, last, &MessageId::derived([&entry.input_id])).await?;
    /// # Ok(()) }
    /// ```
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject.
    pub fn journal<J: muster_contracts::Journal>(&self, address: &J) -> Result<Journal<J>, Fault> {
        Ok(Journal {
            bus: self.clone(),
            subject: subject_of(address)?,
            entry: std::marker::PhantomData,
        })
    }

    /// The newest message at the address that the fields of `address` make, with its sequence.
    ///
    /// # Errors
    /// INVALID where a field cannot be a token of a subject, UNAVAILABLE where the stream cannot be read, INTERNAL where what is there is no such message.
    pub async fn latest<M: Durable>(&self, address: &M) -> Result<Option<(u64, M)>, Fault> {
        let subject = subject_of(address)?;
        let Some(stream) = self.kept_in::<M>(&subject).await? else { return Ok(None) };
        match self.last_message(stream.name(), &subject).await? {
            Some(message) => Ok(Some((message.sequence, self.entry(message).await?))),
            None => Ok(None),
        }
    }

    /// The message at the address that the fields of `address` make, with this sequence.
    ///
    /// # Errors
    /// As [`Bus::latest`].
    pub async fn at<M: Durable>(&self, address: &M, sequence: u64) -> Result<Option<M>, Fault> {
        let subject = subject_of(address)?;
        let Some(stream) = self.kept_in::<M>(&subject).await? else { return Ok(None) };
        let found = self.next_message(stream.name(), &subject, sequence).await?;
        match found.filter(|message| message.sequence == sequence) {
            Some(message) => Ok(Some(self.entry(message).await?)),
            None => Ok(None),
        }
    }

    /// What a stream keeps at an address of its own. That it is rubbish is not the fault of who reads it, and no other input would mend it.
    async fn entry<M: Durable>(&self, message: StreamMessage) -> Result<M, Fault> {
        let StreamMessage { subject, sequence, headers, payload, .. } = message;
        let read = self.read(Some(&headers), payload).await;
        read.map_err(|fault| {
            damage::of_entry(&subject, sequence, stream_of::<M>(&subject).name(), fault)
        })
    }
}

impl<J: muster_contracts::Journal> Journal<J> {
    /// Every entry with its sequence, oldest first, as the stream's leader knows them.
    ///
    /// # Errors
    /// UNAVAILABLE where the stream cannot be read, INTERNAL where an entry is none.
    pub async fn read(&self) -> Result<Vec<(u64, J)>, Fault> {
        self.read_after(0).await
    }

    /// Every entry behind `sequence`.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub async fn read_after(&self, sequence: u64) -> Result<Vec<(u64, J)>, Fault> {
        let (stream, mut entries) = (J::STREAM.name(), Vec::new());
        // The end is what the leader says it is; what comes before it may come from anywhere.
        let last = self.bus.last_message(stream, &self.subject).await?;
        let last = last.map_or(0, |message| message.sequence);
        let (mut from, mut many) = (sequence + 1, true);
        while from <= last {
            let mut messages = Vec::new();
            if many {
                messages = self.bus.some_messages(stream, &self.subject, from).await?;
                // No replica has more: asking again would take its time again.
                many = !messages.is_empty();
            }
            if messages.is_empty() {
                messages.extend(self.bus.next_message(stream, &self.subject, from).await?);
            }
            let Some(end) = messages.last() else { break };
            from = end.sequence + 1;
            for message in messages {
                entries.push((message.sequence, self.bus.entry(message).await?));
            }
        }
        Ok(entries)
    }

    /// The entry at `sequence`; none where no entry of this journal has it.
    ///
    /// # Errors
    /// As [`Journal::read`].
    pub async fn at(&self, sequence: u64) -> Result<Option<J>, Fault> {
        let found = self.bus.next_message(J::STREAM.name(), &self.subject, sequence).await?;
        match found.filter(|message| message.sequence == sequence) {
            Some(message) => Ok(Some(self.bus.entry(message).await?)),
            None => Ok(None),
        }
    }

    /// Appends an entry where the last one has the sequence `expected` (0: there is none). Returns the entry's sequence.
    ///
    /// # Errors
    /// [`AppendError::Conflict`] where the last sequence is another; nothing was appended by this call then.
    pub async fn append(
        &self,
        entry: &J,
        expected: u64,
        id: &MessageId,
    ) -> Result<u64, AppendError> {
        self.append_as(entry, expected, id).await
    }

    /// As [`Journal::append`], of an entry that its writer has in another form: its JSON is that of a `J`.
    ///
    /// # Errors
    /// As [`Journal::append`].
    pub async fn append_as<E: muster_contracts::Journal>(
        &self,
        entry: &E,
        expected: u64,
        id: &MessageId,
    ) -> Result<u64, AppendError> {
        let (headers, body) = self.bus.pack(entry, id).await?;
        match self.bus.publish_expecting(self.subject.clone(), headers, body, Some(expected)).await
        {
            // An entry with this id is there, but not surely this one: only the journal knows.
            Ok(published) if published.duplicate => Err(AppendError::Conflict),
            Ok(published) => Ok(published.sequence),
            Err(Refused::WrongLastSequence { .. }) => Err(AppendError::Conflict),
            Err(Refused::Fault(fault)) => Err(AppendError::Fault(fault)),
        }
    }
}
