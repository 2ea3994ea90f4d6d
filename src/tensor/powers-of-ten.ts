/** 10^0 to 10^22, the powers of ten that doubles hold exactly: what reading and printing decimals scale by. */
export const powersOfTen = Float64Array.from({ length: 23 }, (_, exponent) => 10 ** exponent);
