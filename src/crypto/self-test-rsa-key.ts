/**
 * The RSA key of the power-on self-tests: public knowledge since it was written here, protects nothing.
 * A known answer needs a fixed key, and making one takes longer than all other self-tests together.
 */
export const SELF_TEST_RSA_KEY =
  'MIIEvQIBADANBgkqhkiG9w0BAQEFAASCBKcwggSjAgEAAoIBAQC6cp4MOpZcMMx0d3qsi2Imcr+JuGFYX/sghorxZrYe' +
  'd0SOmlqKFm5VrdsMqDEjgI0vvKGHQi+4GoVx0pOdQoApY6rbpvSDQVdSZed2qQ+qcCns5gKOsdLYWXOlE7mbgLcKKz2e' +
  'Ok41yv7pyjz6KAbXSMQjvnEIa9VfCLlLeIm54EjeACkvsnBjR9BUUKEVNovunygxnCbIwxujBvU5XtCCjt7PzGjIGx6+' +
  'ea6XG8WWvLUtuI+PH2ye1nwdm0On1YcFEwwSmkMUxixpHVDVO1JeP3dKrVeyZOWFpnfsJT0q/vm+2kygiAfUE/nrW6KC' +
  'ycJAYeFayN4NXu1MNSC4Dj2ZAgMBAAECggEAAbQR3xU68fEtMQQ1bfWhCi5isxio5QSNeAzaoJ16XPlkejQNTzUowWYi' +
  '+fDgcA1Y3N6JkEGJy5IMdY+Bsz5cCuTC9xpFohxa9qEBNhuRzdIUA/rO+6xCu6DHlnLBb5sDsRdXiwZH2CR4YzzqhTOP' +
  '6nAbAKOZB0Vq7+EVxkt94KGYsqn4PazxeIU/OUCzyXDxfl5SVn9bh49+X5tH6vrdlGKAKlo7IM1rnwM6sM47VdBPhGq6' +
  'm3hpSKop/jwbywdxVLhf055SOUPm+uK1EDdqPDWVcJmMLf0MKHnP3D+HNwesAf95veR9hnHnk/nsdbbDbfKdpuj/7rFz' +
  'iKODINBToQKBgQDe5wAnnF0ol0HuzEGI/GOJDmt6yEnuBgn7mAH7KTFNgTzfBk1wi0ZiCtgCZtDKrCm9cS5u1AmxKIxr' +
  'i0HEkL1zWtjfAmfbPrHH2mxDamoAMsyLQURRDRN6WqTPvLDkl1i2qj/8sI8byge58wXkFKjvp1W2qqSqAprRMzjNkkcd' +
  'MQKBgQDWIeXb42vg4MX2shkf8ggpwdFAP3GiuRfbe+97SauCQb2CJeSF2gtj58An85zncWf2rVznPvp5Q9wdcRBD6+q1' +
  'bP+wAX1nDRLl+/WXH5OqnveCB+tPviBLMrceRbwxALmXxWemrlmVzqW7sSVZrnyvqWHZcOeqEoMGJZQ1FERs6QKBgFTb' +
  'EccCksBiHLqAza4NjwLdF3ONjf9sEx7Rdmeb/eXofjjVGGPw0WF/iU4YwAF32wgAb1HHrMzhh9tlDyt6gnTIr+jt7IWd' +
  'b2aKs05S03mx3QZiWVSVqsWYfkeLKLhNGXuogmV6/W/x0FEswCBc8RcS1+GLQtZp2XAslMJFnobxAoGAJ+7+bPmGntOM' +
  'V6tzIBAFEbSBj5fFW3FlT5tXWAivIYWdD+59JbE6OpF3tnuqIUd2+fvuvXlzQLY1EJCLVf9jMB55uJsuhc9cXOOWM27C' +
  'HSm0Qt2zNpXgc+WrXMvogsL92Z4I7H7LWjLFmbE5o/X0btYJ14FE0uTM5pKPhy6WbDECgYEAvRjXgNktP6OLSua4qrm/' +
  'WXla2VQYrCar9mU8VAqlkIr+MzIyI/GWzUOeJUGtYCLKlvi98vJfeXwTuwuV1Qo905s/zgOnQpHw2X0psU8AV51uAeGl' +
  '1zfB9jL2R7Lwyyspxxcn+cdzeruoBZl5DpUe6zg30dFW8w54aJlNZyGBYl8=';

/** SHA-256 of its RSASSA-PKCS1-v1_5 signature (SHA-256) of `Keyark self-test`, by python-cryptography. */
export const SELF_TEST_RSA_SIGNATURE_SHA256 =
  '9b66db09c19b9cc73aa5af05a9ae68651ebd72005b35c4e273bce4d8b64f035c';
