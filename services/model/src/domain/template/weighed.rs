//! The engine's language with a bound on what a template makes.
//!
//! The engine bounds steps, but one step may double a text. So a template is read, and what makes values of others is
//! written in terms of functions that charge for what they make: `~`, `+`, `*`, slices, and what is emitted within macros and
//! blocks, where it becomes a value. Filters charge by themselves (see [`super::budget`]).

use minijinja::machinery::{
    CodeGenerator, Instructions, Span, Token, ast, parse, parse_expr, tokenize,
};
use minijinja::syntax::SyntaxConfig;
use minijinja::{Error, ErrorKind, Value};

use ast::{Expr, Spanned, Stmt};

/// Joins two values to a text. No template can name it, as it is no name.
pub(super) const CONCAT: &str = "~";
/// Charges for a value and gives it.
pub(super) const MADE: &str = "+";
/// Charges for a value with all that it holds, refuses one that is nested too deeply, and gives it.
pub(super) const HELD: &str = "[";
/// Gives a number, and refuses all else.
pub(super) const NUMBER: &str = "*";
/// How deep an expression or blocks may be nested; each operator of a chain is one level.
const MAX_DEPTH: usize = 100;
/// The most operators, dots, brackets and keywords in one tag: what is read of a chain of them is as deep as the chain is long,
/// and the stack would end the process.
const MAX_CHAIN: usize = 256;
/// The most `elif` of a template, for the same reason.
const MAX_BRANCHES: usize = 100;

/// Reads a template.
pub(super) fn template(source: &str) -> Result<Instructions<'_>, Error> {
    check_chains(source, false)?;
    let Stmt::Template(read) = parse(source, "template", SyntaxConfig::default())? else {
        return Err(refused("a template that is none"));
    };
    let mut code = CodeGenerator::new("template", source);
    for stmt in &read.children {
        // What stands outside of all blocks is emitted once.
        match stmt {
            Stmt::EmitRaw(raw) => code.compile_stmt(&Stmt::EmitRaw(Spanned::new(
                ast::EmitRaw { raw: raw.raw },
                raw.span(),
            ))),
            other => code.compile_stmt(&self::stmt(other, 0)?),
        }
    }
    Ok(code.finish().0)
}

/// Reads an expression.
pub(super) fn expression(source: &str) -> Result<Instructions<'_>, Error> {
    check_chains(source, true)?;
    let read = expr(&parse_expr(source)?, 0)?;
    let mut code = CodeGenerator::new("expression", source);
    code.compile_expr(&read);
    Ok(code.finish().0)
}

fn check_chains(source: &str, is_expression: bool) -> Result<(), Error> {
    let (mut chain, mut branches) = (0, 0);
    for token in tokenize(source, is_expression, SyntaxConfig::default()) {
        match token?.0 {
            Token::VariableStart | Token::BlockStart => chain = 0,
            Token::Ident("elif") => branches += 1,
            Token::Ident("and" | "or" | "not" | "is" | "in" | "if" | "else") => chain += 1,
            Token::Ident(_)
            | Token::TemplateData(_)
            | Token::Comma
            | Token::Str(_)
            | Token::String(_)
            | Token::Int(_)
            | Token::Int128(_)
            | Token::Float(_) => {}
            _ => chain += 1,
        }
        if chain > MAX_CHAIN || branches > MAX_BRANCHES {
            let detail = format!(
                "a tag has more than {MAX_CHAIN} operators, or the template more than {MAX_BRANCHES} `elif`"
            );
            return Err(Error::new(ErrorKind::InvalidOperation, detail));
        }
    }
    Ok(())
}

fn refused(what: &str) -> Error {
    Error::new(ErrorKind::InvalidOperation, format!("a script cannot have {what}"))
}

fn deeper(depth: usize) -> Result<usize, Error> {
    if depth >= MAX_DEPTH {
        return Err(Error::new(
            ErrorKind::InvalidOperation,
            format!(
                "the template is nested deeper than {MAX_DEPTH}, or an expression has more operators in a row"
            ),
        ));
    }
    Ok(depth + 1)
}

fn body<'a>(stmts: &[Stmt<'a>], depth: usize) -> Result<Vec<Stmt<'a>>, Error> {
    stmts.iter().map(|inner| stmt(inner, depth)).collect()
}

fn stmt<'a>(read: &Stmt<'a>, depth: usize) -> Result<Stmt<'a>, Error> {
    let at = deeper(depth)?;
    Ok(match read {
        Stmt::EmitExpr(s) => Stmt::EmitExpr(spanned(ast::EmitExpr { expr: expr(&s.expr, at)? }, s)),
        Stmt::EmitRaw(s) => {
            let text = Spanned::new(ast::Const { value: Value::from(s.raw) }, s.span());
            Stmt::EmitExpr(spanned(ast::EmitExpr { expr: Expr::Const(text) }, s))
        }
        Stmt::ForLoop(s) => Stmt::ForLoop(spanned(each(s, at)?, s)),
        Stmt::IfCond(s) => {
            let condition = ast::IfCond {
                expr: expr(&s.expr, at)?,
                true_body: body(&s.true_body, at)?,
                false_body: body(&s.false_body, at)?,
            };
            Stmt::IfCond(spanned(condition, s))
        }
        Stmt::WithBlock(s) => {
            let pair =
                |(name, value): &(Expr<'a>, Expr<'a>)| Ok((target(name, at)?, expr(value, at)?));
            let assignments = s.assignments.iter().map(pair).collect::<Result<_, Error>>()?;
            Stmt::WithBlock(spanned(ast::WithBlock { assignments, body: body(&s.body, at)? }, s))
        }
        Stmt::Set(s) => {
            let set = ast::Set { target: target(&s.target, at)?, expr: expr(&s.expr, at)? };
            Stmt::Set(spanned(set, s))
        }
        other => captured(other, at)?,
    })
}

fn each<'a>(read: &ast::ForLoop<'a>, at: usize) -> Result<ast::ForLoop<'a>, Error> {
    Ok(ast::ForLoop {
        target: target(&read.target, at)?,
        iter: expr(&read.iter, at)?,
        filter_expr: read.filter_expr.as_ref().map(|filter| expr(filter, at)).transpose()?,
        recursive: read.recursive,
        body: body(&read.body, at)?,
        else_body: body(&read.else_body, at)?,
    })
}

/// Statements whose bodies become values.
fn captured<'a>(read: &Stmt<'a>, at: usize) -> Result<Stmt<'a>, Error> {
    Ok(match read {
        Stmt::SetBlock(s) => {
            let block = ast::SetBlock {
                target: target(&s.target, at)?,
                filter: s.filter.as_ref().map(|filter| expr(filter, at)).transpose()?,
                body: body(&s.body, at)?,
            };
            Stmt::SetBlock(spanned(block, s))
        }
        Stmt::FilterBlock(s) => {
            let block = ast::FilterBlock { filter: expr(&s.filter, at)?, body: body(&s.body, at)? };
            Stmt::FilterBlock(spanned(block, s))
        }
        Stmt::Macro(s) => Stmt::Macro(spanned(declared(s, at)?, s)),
        Stmt::CallBlock(s) => {
            let block = ast::CallBlock {
                call: spanned(call(&s.call, at)?, &s.call),
                macro_decl: spanned(declared(&s.macro_decl, at)?, &s.macro_decl),
            };
            Stmt::CallBlock(spanned(block, s))
        }
        Stmt::Do(s) => Stmt::Do(spanned(ast::Do { call: spanned(call(&s.call, at)?, &s.call) }, s)),
        Stmt::AutoEscape(_) => return Err(refused("`autoescape`: its replies are no HTML")),
        _ => return Err(refused("other templates: no block, extends, include or import")),
    })
}

fn declared<'a>(read: &ast::Macro<'a>, at: usize) -> Result<ast::Macro<'a>, Error> {
    Ok(ast::Macro {
        name: read.name,
        args: read.args.iter().map(|arg| target(arg, at)).collect::<Result<_, Error>>()?,
        defaults: exprs(&read.defaults, at)?,
        body: body(&read.body, at)?,
    })
}

/// What is assigned to: a list of names is no value.
fn target<'a>(read: &Expr<'a>, depth: usize) -> Result<Expr<'a>, Error> {
    let at = deeper(depth)?;
    let all = |items: &[Expr<'a>]| -> Result<Vec<_>, Error> {
        items.iter().map(|item| target(item, at)).collect()
    };
    Ok(match read {
        Expr::List(s) => Expr::List(spanned(ast::List { items: all(&s.items)? }, s)),
        Expr::Tuple(s) => Expr::Tuple(spanned(ast::Tuple { items: all(&s.items)? }, s)),
        other => expr(other, depth)?,
    })
}

fn exprs<'a>(read: &[Expr<'a>], depth: usize) -> Result<Vec<Expr<'a>>, Error> {
    read.iter().map(|inner| expr(inner, depth)).collect()
}

fn expr<'a>(read: &Expr<'a>, depth: usize) -> Result<Expr<'a>, Error> {
    let at = deeper(depth)?;
    Ok(match read {
        Expr::Var(s) => Expr::Var(spanned(ast::Var { id: s.id }, s)),
        Expr::Const(s) => Expr::Const(spanned(ast::Const { value: s.value.clone() }, s)),
        Expr::Slice(s) => {
            let part = |part: &Option<Expr<'a>>| part.as_ref().map(|e| expr(e, at)).transpose();
            let (start, stop, step) = (part(&s.start)?, part(&s.stop)?, part(&s.step)?);
            let slice = ast::Slice { expr: expr(&s.expr, at)?, start, stop, step };
            function(MADE, vec![Expr::Slice(spanned(slice, s))], s.span())
        }
        Expr::UnaryOp(s) => {
            let negates = matches!(s.op, ast::UnaryOpKind::Neg);
            let op = if negates { ast::UnaryOpKind::Neg } else { ast::UnaryOpKind::Not };
            Expr::UnaryOp(spanned(ast::UnaryOp { op, expr: expr(&s.expr, at)? }, s))
        }
        Expr::BinOp(s) => binary(s, at)?,
        Expr::Compare(s) => {
            let op = |op: &ast::CompareOp<'a>| {
                Ok(ast::CompareOp { op: op.op, expr: expr(&op.expr, at)? })
            };
            let ops = s.ops.iter().map(op).collect::<Result<_, Error>>()?;
            Expr::Compare(spanned(ast::Compare { expr: expr(&s.expr, at)?, ops }, s))
        }
        Expr::IfExpr(s) => {
            let choice = ast::IfExpr {
                test_expr: expr(&s.test_expr, at)?,
                true_expr: expr(&s.true_expr, at)?,
                false_expr: s.false_expr.as_ref().map(|other| expr(other, at)).transpose()?,
            };
            Expr::IfExpr(spanned(choice, s))
        }
        other => compound(other, at)?,
    })
}

fn compound<'a>(read: &Expr<'a>, at: usize) -> Result<Expr<'a>, Error> {
    Ok(match read {
        Expr::Filter(s) => {
            let of = s.expr.as_ref().map(|of| expr(of, at)).transpose()?;
            let filter = ast::Filter { name: s.name, expr: of, args: arguments(&s.args, at)? };
            Expr::Filter(spanned(filter, s))
        }
        Expr::Test(s) => {
            let args = arguments(&s.args, at)?;
            Expr::Test(spanned(ast::Test { name: s.name, expr: expr(&s.expr, at)?, args }, s))
        }
        Expr::GetAttr(s) => {
            Expr::GetAttr(spanned(ast::GetAttr { expr: expr(&s.expr, at)?, name: s.name }, s))
        }
        Expr::GetItem(s) => {
            let subscript_expr = expr(&s.subscript_expr, at)?;
            Expr::GetItem(spanned(ast::GetItem { expr: expr(&s.expr, at)?, subscript_expr }, s))
        }
        Expr::Call(s) => Expr::Call(spanned(call(s, at)?, s)),
        Expr::List(s) if s.as_const().is_none() => {
            let list = ast::List { items: exprs(&s.items, at)? };
            function(HELD, vec![Expr::List(spanned(list, s))], s.span())
        }
        Expr::List(s) => Expr::List(spanned(ast::List { items: exprs(&s.items, at)? }, s)),
        Expr::Tuple(s) => {
            let tuple = ast::Tuple { items: exprs(&s.items, at)? };
            function(HELD, vec![Expr::Tuple(spanned(tuple, s))], s.span())
        }
        Expr::Map(s) => {
            let map = ast::Map { keys: exprs(&s.keys, at)?, values: exprs(&s.values, at)? };
            function(HELD, vec![Expr::Map(spanned(map, s))], s.span())
        }
        _ => return Err(refused("an expression that is none")),
    })
}

fn binary<'a>(read: &Spanned<ast::BinOp<'a>>, at: usize) -> Result<Expr<'a>, Error> {
    let span = read.span();
    let (left, right) = (expr(&read.left, at)?, expr(&read.right, at)?);
    let same =
        |left, right| Expr::BinOp(Spanned::new(ast::BinOp { op: read.op, left, right }, span));
    Ok(match read.op {
        ast::BinOpKind::Concat => function(CONCAT, vec![left, right], span),
        ast::BinOpKind::Add => function(MADE, vec![same(left, right)], span),
        ast::BinOpKind::Mul => {
            let number = |factor| function(NUMBER, vec![factor], span);
            same(number(left), number(right))
        }
        _ => same(left, right),
    })
}

fn call<'a>(read: &ast::Call<'a>, at: usize) -> Result<ast::Call<'a>, Error> {
    Ok(ast::Call { expr: expr(&read.expr, at)?, args: arguments(&read.args, at)? })
}

fn arguments<'a>(read: &[ast::CallArg<'a>], at: usize) -> Result<Vec<ast::CallArg<'a>>, Error> {
    use ast::CallArg::{Kwarg, KwargSplat, Pos, PosSplat};
    let argument = |argument: &ast::CallArg<'a>| {
        Ok(match argument {
            Pos(value) => Pos(expr(value, at)?),
            Kwarg(name, value) => Kwarg(name, expr(value, at)?),
            PosSplat(value) => PosSplat(expr(value, at)?),
            KwargSplat(value) => KwargSplat(expr(value, at)?),
        })
    };
    read.iter().map(argument).collect()
}

fn function<'a>(name: &'a str, args: Vec<Expr<'a>>, span: Span) -> Expr<'a> {
    let expr = Expr::Var(Spanned::new(ast::Var { id: name }, span));
    let args = args.into_iter().map(ast::CallArg::Pos).collect();
    Expr::Call(Spanned::new(ast::Call { expr, args }, span))
}

fn spanned<T, U>(node: T, as_of: &Spanned<U>) -> Spanned<T> {
    Spanned::new(node, as_of.span())
}
