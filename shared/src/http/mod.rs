//! The front door that every HTTP function shares.

mod auth;
mod body;
pub mod cookies;
mod page;
mod problem;
mod request;

pub use auth::{authenticate, bearer};
pub use body::{content_type, read_body};
pub use page::{Cursor, PageQuery};
pub use problem::{Problem, TokenProblem};
pub use request::{Door, RequestInfo};
