//! Tables whose rows are made while the engine asks for them: in one part, and without the columns that nobody asks for.
//!
//! Knows nothing of what the rows say: that is [`Rows`]'.

use std::fmt;
use std::sync::Arc;

use async_trait::async_trait;
use datafusion::arrow::datatypes::SchemaRef;
use datafusion::catalog::{Session, TableProvider};
use datafusion::error::DataFusionError;
use datafusion::execution::{SendableRecordBatchStream, TaskContext};
use datafusion::logical_expr::TableType;
use datafusion::physical_plan::ExecutionPlan;
use datafusion::physical_plan::streaming::{PartitionStream, StreamingTableExec};
use datafusion::prelude::Expr;

/// What a table's rows come from; a copy of it goes into each reading.
pub(super) trait Rows: Clone + Send + Sync + 'static {
    /// Reads all rows anew, of these of the table's columns; there may be none of them.
    fn read(&self, columns: &SchemaRef, context: &TaskContext) -> SendableRecordBatchStream;
}

/// Rows as a table, or as some columns of it.
pub(super) struct Streamed<R> {
    rows: R,
    columns: SchemaRef,
}

impl<R: Rows> Streamed<R> {
    /// The table of these columns.
    pub(super) fn table(rows: R, columns: SchemaRef) -> Arc<dyn TableProvider> {
        Arc::new(Self { rows, columns })
    }
}

impl<R> fmt::Debug for Streamed<R> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // what rows come from has the keys that open them
        f.debug_struct("Streamed").finish_non_exhaustive()
    }
}

#[async_trait]
impl<R: Rows> TableProvider for Streamed<R> {
    fn schema(&self) -> SchemaRef {
        Arc::clone(&self.columns)
    }

    fn table_type(&self) -> TableType {
        TableType::View
    }

    async fn scan(
        &self,
        _state: &dyn Session,
        projection: Option<&Vec<usize>>,
        _filters: &[Expr],
        limit: Option<usize>,
    ) -> Result<Arc<dyn ExecutionPlan>, DataFusionError> {
        let columns = match projection {
            Some(asked) => Arc::new(self.columns.project(asked)?),
            None => Arc::clone(&self.columns),
        };
        let part = Self { rows: self.rows.clone(), columns: Arc::clone(&columns) };
        let parts: Vec<Arc<dyn PartitionStream>> = vec![Arc::new(part)];
        Ok(Arc::new(StreamingTableExec::try_new(columns, parts, None, [], false, limit)?))
    }
}

impl<R: Rows> PartitionStream for Streamed<R> {
    fn schema(&self) -> &SchemaRef {
        &self.columns
    }

    fn execute(&self, context: Arc<TaskContext>) -> SendableRecordBatchStream {
        self.rows.read(&self.columns, &context)
    }
}
