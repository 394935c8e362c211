//! The whole function against a real DynamoDB API and a queue that can fail.

#[cfg(test)]
mod authorize;
#[cfg(test)]
mod discovery;
#[cfg(test)]
mod keys;
#[cfg(test)]
mod login_page;
#[cfg(test)]
mod logout;
#[cfg(test)]
mod seeding;
#[cfg(test)]
mod support;
#[cfg(test)]
mod token;
#[cfg(test)]
mod userinfo;
