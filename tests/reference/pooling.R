# Pooled results of mice, mitml and lme4, as JSON: Rscript pooling.R DIR, where DIR holds brandsma.csv.
suppressMessages({library(mice); library(lme4); library(mitml); library(broom.mixed); library(jsonlite)})

tests <- function(full, null) {
  row <- function(...) as.list(testModels(full, null, ...)$test[1, ])
  list(
    D1 = row(method = "D1"), D1_df = row(method = "D1", df.com = 200),
    D2_wald = row(method = "D2"), D2_likelihood = row(method = "D2", use = "likelihood"),
    D3 = row(method = "D3"), D4 = row(method = "D4"), D4_robust = row(method = "D4", ariv = "robust")
  )
}

record <- function(sets, full, null, constraint) {
  sets <- as.mitml.list(sets)
  fits <- with(sets, lmer(as.formula(full)))
  nulls <- with(sets, lmer(as.formula(null)))
  estimates <- testEstimates(fits, extra.pars = TRUE)
  list(
    full = full, null = null,
    terms = names(fixef(fits[[1]])),
    params = t(sapply(fits, fixef)),
    cov = unname(lapply(fits, function(f) as.matrix(vcov(f)))),
    reml_loglik = sapply(fits, function(f) as.numeric(logLik(f))),
    dfcom = df.residual(fits[[1]]),
    mice = as.list(summary(pool(as.list(fits)), type = "all", conf.int = TRUE)),
    mitml = as.data.frame(estimates$estimates),
    r2 = as.list(multilevelR2(fits)),
    extra = as.list(estimates$extra.pars[, 1]),
    tests = tests(fits, nulls),
    constraint = list(text = constraint, D1 = as.list(testConstraints(fits, constraints = constraint)$test[1, ]),
                      D2 = as.list(testConstraints(fits, constraints = constraint, method = "D2")$test[1, ]))
  )
}

dir <- commandArgs(TRUE)[1]
brandsma <- read.csv(file.path(dir, "brandsma.csv"))[c("sch", "lpo", "iqv", "sex", "ses", "ssi")]
pred <- make.predictorMatrix(brandsma)
pred[, "sch"] <- -2
pred["ssi", ] <- c(-2, 1, 1, 1, 1, 0)
method <- c("", "2l.pan", "2l.pan", "2l.pan", "2l.pan", "2lonly.norm")
names(method) <- names(brandsma)
imp <- mice(brandsma, m = 5, maxit = 3, method = method, predictorMatrix = pred, seed = 1, printFlag = FALSE)
out <- record(complete(imp, "all"), "lpo ~ iqv + sex + ses + ssi + (1 + iqv | sch)",
              "lpo ~ iqv + sex + (1 + iqv | sch)", c("iqv*ses", "sex - ssi"))

data(popmis)
popmis <- popmis[c("school", "popular", "sex", "texp")]
pred <- make.predictorMatrix(popmis)
pred["popular", ] <- c(-2, 0, 2, 1)
imp <- mice(popmis, m = 5, maxit = 1, method = c("", "2l.pan", "", ""), predictorMatrix = pred, seed = 1,
            printFlag = FALSE)
write.csv(round(imp$imp$popular, 4), "pooling_popmis_cells.csv", quote = FALSE)
cells <- read.csv("pooling_popmis_cells.csv", row.names = 1)
sets <- lapply(1:5, function(i) { d <- popmis; d$popular[is.na(d$popular)] <- cells[[i]]; d })
out2 <- record(sets, "popular ~ sex * texp + (1 | school)", "popular ~ sex + (1 | school)",
               c("sex*texp", "sex - 12*texp"))

write_json(list(brandsma = out, popmis = out2), "pooling.json", digits = I(15), auto_unbox = TRUE, pretty = 1)
