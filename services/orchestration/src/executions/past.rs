//! What the past of executions needs of the present ones.

use super::Executions;
use crate::Error;
use crate::definitions::Definitions;

impl Executions {
    pub(crate) fn definitions(&self) -> &Definitions {
        &self.definitions
    }

    /// Publishes the effects of the entry that an input has, if it has one; a second time publishes nothing new. False where it has none.
    pub(crate) async fn publish_of(
        &self,
        execution_id: &str,
        input_id: &str,
    ) -> Result<bool, Error> {
        let journal = self.journal(execution_id)?;
        let slot = self.slot(execution_id);
        let mut place = slot.lock().await;
        place.hot = match place.hot.take() {
            Some(hot) => Some(self.read_on(&journal, hot).await?),
            None => self.load(execution_id, &journal).await?,
        };
        let Some(hot) = &place.hot else { return Ok(false) };
        let Some(sequence) = hot.sequence_of(input_id) else { return Ok(false) };
        self.publish_again(hot, &journal, sequence).await?;
        Ok(true)
    }
}
