//! The client of the AWS Wickr Admin API.

mod endpoint;
mod ids;

pub use endpoint::{Endpoint, Partition};
pub use ids::{BadId, NetworkId, UserId};
